package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/kubetest"
)

// One release from its first pod on, through what happens to pods in a week. The steps build on each other; each says what goes wrong.
func TestSite(t *testing.T) {
	s := newSite(t, 17)
	primary, replica := s.member(release+"-primary-0", "primary"), s.member(release+"-replica-0", "replica")
	primary.create()
	primary.waitStatus("/primary", 200)
	replica.create()
	replica.waitStatus("/replica?lag=1MB", 200)
	if !strings.Contains(s.record(), `"epoch":{"site":1,"local":1},"reign":`) {
		t.Errorf("first record: %s", s.record())
	}
	primary.waitFor("the claim is given up", func() bool { return !strings.Contains(s.record(), "bootstrap") })
	t.Run("new_database_is_complete", func(t *testing.T) { complete(t, s, primary, replica) })
	if _, err := primary.sql("CREATE TABLE rows (id int)"); err != nil {
		t.Fatal(err)
	}
	n := 0
	// step makes something happen, then writes a row and sees it on the replica.
	step := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			f(t)
			n++
			primary.waitStatus("/primary", 200)
			primary.waitFor("a row is written", func() bool {
				_, err := primary.sql("INSERT INTO rows SELECT count(*) + 1 FROM rows")
				return err == nil
			})
			want, err := primary.sql("SELECT count(*) || ' ' || sum(id) FROM rows")
			if err != nil {
				t.Fatal(err)
			}
			replica.waitSQL("SELECT count(*) || ' ' || sum(id) FROM rows", want)
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	started := func() string {
		out, err := primary.sql("SELECT pg_postmaster_start_time()")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	timeline := func() string {
		out, _ := primary.sql("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
		return out
	}
	step("keeper_killed_adopts_its_grant", func(t *testing.T) {
		before := started()
		primary.keeper.Kill()
		primary.startKeeper()
		primary.waitStatus("/primary", 200)
		if after := started(); after != before {
			t.Errorf("the server was restarted: %s, before %s", after, before)
		}
	})
	step("user_added_and_password_rotated_without_a_restart", func(t *testing.T) {
		before := started()
		verifier := func(user string) string {
			out, _ := primary.sql("SELECT rolpassword FROM pg_authid WHERE rolname = '" + user + "'")
			return out
		}
		old := verifier("app")
		s.users = []string{"shop"}
		primary.configure()
		primary.waitFor("a person is told that the new user has no Secret", func() bool { return s.told("AccountsIncomplete") })
		s.secret("shop", "secret-of-shop")
		s.Do(t, "PATCH", s.path("secrets", release+"-user-app"), object{"stringData": object{"password": "another"}})
		primary.waitFor("both have their passwords", func() bool {
			return strings.HasPrefix(verifier("shop"), "SCRAM-SHA-256$") && verifier("app") != old
		})
		if after := started(); after != before {
			t.Errorf("the server was restarted: %s, before %s", after, before)
		}
	})
	step("lease_deleted_is_written_again", func(t *testing.T) {
		before := started()
		s.Do(t, "DELETE", "/apis/coordination.k8s.io/v1/namespaces/"+s.ns+"/leases/"+release, nil)
		primary.waitFor("a record", func() bool { return s.record() != "" })
		if after := started(); after != before || !strings.Contains(s.record(), `"local":1}`) {
			t.Errorf("server %s, before %s; record %s", after, before, s.record())
		}
	})
	step("short_api_outage_costs_nothing", func(t *testing.T) {
		before := started()
		primary.proxy.Break(func(*http.Request) kubetest.Fault { return kubetest.Fault{Status: 503} })
		time.Sleep(3 * time.Second) // half of what the grant lasts
		primary.proxy.Heal()
		time.Sleep(4 * time.Second) // longer than what was left
		if after := started(); after != before {
			t.Errorf("the server was restarted: %s, before %s", after, before)
		}
	})
	step("cut_from_the_api_fences_and_comes_back_in_its_epoch", func(t *testing.T) {
		before := started()
		primary.proxy.Break(func(*http.Request) kubetest.Fault { return kubetest.Fault{LoseRequest: true} })
		at := time.Now()
		primary.waitFor("fenced", func() bool { _, err := primary.sql("SELECT 1"); return err != nil })
		if took := time.Since(at); took > 10*time.Second {
			t.Errorf("fenced after %v, want before 10s, when others may begin", took)
		}
		replica.waitStatus("/readyz", 200) // reads go on
		primary.proxy.Heal()
		primary.waitStatus("/primary", 200)
		if after := started(); after == before || timeline() != "00000001" || !strings.Contains(s.record(), `"local":1}`) {
			t.Errorf("server of %s, timeline %s, record %s", after, timeline(), s.record())
		}
	})
	step("frozen_keeper_fences", func(t *testing.T) {
		primary.keeper.Signal(t, syscall.SIGSTOP)
		primary.waitFor("fenced", func() bool { _, err := primary.sql("SELECT 1"); return err != nil })
		primary.keeper.Signal(t, syscall.SIGCONT)
	})
	step("pod_deleted_comes_back_at_once_on_a_new_timeline", func(t *testing.T) {
		primary.remove()
		if !strings.Contains(s.record(), `"released":true`) {
			t.Errorf("not released: %s", s.record())
		}
		at := time.Now()
		primary.create()
		primary.waitStatus("/primary", 200)
		t.Logf("writable again after %v", time.Since(at))
		if timeline() != "00000002" || !strings.Contains(s.record(), `"local":2},"reign":`) {
			t.Errorf("timeline %s, record %s", timeline(), s.record())
		}
	})
	step("pod_killed_waits_out_its_own_lease", func(t *testing.T) {
		primary.kill()
		at := time.Now()
		primary.create()
		primary.waitStatus("/primary", 200)
		if took := time.Since(at); took < 8*time.Second {
			t.Errorf("writable after %v: the killed life's lease of 10s had not run out", took)
		}
		if timeline() != "00000003" {
			t.Errorf("timeline %s", timeline())
		}
	})
	step("replica_pod_deleted_comes_back", func(*testing.T) {
		replica.remove()
		replica.create()
		replica.waitStatus("/replica?lag=1MB", 200)
	})
	step("all_pods_deleted_at_once", func(*testing.T) {
		replica.kill()
		primary.remove()
		primary.create()
		replica.create()
	})
	step("data_without_a_lease_is_adopted_on_a_persons_word", func(t *testing.T) {
		primary.remove()
		replica.remove()
		s.Do(t, "DELETE", "/apis/coordination.k8s.io/v1/namespaces/"+s.ns+"/leases/"+release, nil)
		primary.create()
		told := primary.reason()
		_, rest, _ := strings.Cut(told, "set the value bootstrap.adopt to ")
		adopt, _, _ := strings.Cut(rest, " ")
		if !strings.HasPrefix(adopt, primary.pod+"@1.") || s.record() != "" {
			t.Errorf("got %q, record %q", told, s.record())
		}
		settings := primary.at("settings/settings.yaml") // as it is taken up in a running pod
		primary.root.WriteFile(t, settings, append(primary.root.ReadFile(t, settings), "bootstrap: {adopt: "+adopt+"}\n"...), 0o600)
		primary.resume()
		primary.waitStatus("/primary", 200)
		// It leaps over what a lost leader may have used.
		if timeline() != "00000068" || !strings.Contains(s.record(), `"local":100},"reign":`) {
			t.Errorf("timeline %s, record %s", timeline(), s.record())
		}
		replica.create()
	})
	t.Run("resources_at_rest", func(t *testing.T) { rest(t, primary, replica) })
}
