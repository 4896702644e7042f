package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// addresses of the loopback interface that the API takes as endpoints. Nothing sent to them leaves the machine.
var addresses = []string{"198.19.77.1", "198.19.77.2", "198.19.77.3"}

// newSiteApart is a site whose members have an address each, as pods have.
func newSiteApart(t *testing.T, major int) *site {
	t.Helper()
	// One test process at a time has the addresses, and with them the one port that keepers call.
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "pgspan-keeper-addresses"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatalf("have the addresses for this test alone: %v", err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	s := newSite(t, major)
	for _, a := range addresses {
		out, err := exec.Command("ip", "address", "replace", a+"/32", "dev", "lo").CombinedOutput()
		if err != nil {
			t.Fatalf("an address more for this machine: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "address", "del", a+"/32", "dev", "lo").Run() })
	}
	s.apart = addresses
	s.tls, err = sitecerts.Generate(sitecerts.Spec{ExtraNames: addresses,
		Sites: []sitecerts.Site{{Fullname: release, Namespaces: []string{s.ns}, ClusterDomain: "cluster.local"}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// role runs the binary as a Job would, and returns what it said and its exit code.
func (s *site) role(args ...string) (string, int) {
	s.t.Helper()
	dir := s.t.TempDir()
	for name, content := range s.tls.Shared() {
		if strings.HasPrefix(name, "keeper.") || name == "ca.crt" {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(pgtest.Build(s.t, "./agents/role"), args...)
	cmd.Env = []string{"PGSPAN_KEEPERS=" + strings.Join(addresses, ","), "PGSPAN_TLS=" + dir, "PGSPAN_TIMEOUT=1m"}
	began := time.Now()
	out, err := cmd.CombinedOutput()
	s.t.Logf("role %s (%v): %s", strings.Join(args, " "), time.Since(began).Round(time.Millisecond), strings.TrimSpace(string(out)))
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// told reports whether an event of that reason was written.
func (s *site) told(reason string) bool {
	s.t.Helper()
	events, _ := s.Do(s.t, "GET", s.path("events"), nil)["items"].([]any)
	return slices.ContainsFunc(events, func(e any) bool { return e.(map[string]any)["reason"] == reason })
}

// asks is role with what must come of it.
func (s *site) asks(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	if out, got := s.role(args...); got != code || !strings.Contains(out, says) {
		t.Fatalf("role %s: exit code %d, %q; want %d, %q", strings.Join(args, " "), got, out, code, says)
	}
}

// What people ask of a site, by the binary that they ask with. The steps build on each other.
func TestOrders(t *testing.T) {
	s := newSiteApart(t, 17)
	a, b := s.member(release+"-primary-0", "primary"), s.member(release+"-replica-0", "replica")
	a.create()
	a.waitStatus("/primary", 200)
	b.create()
	b.waitStatus("/replica?lag=1MB", 200)
	if _, err := a.sql("CREATE TABLE rows (id int)"); err != nil {
		t.Fatal(err)
	}
	started := func(m *member) string {
		out, err := m.sql("SELECT pg_postmaster_start_time()")
		if err != nil {
			t.Error(err)
		}
		return out
	}
	step := func(name string, f func(t *testing.T)) {
		t.Run(name, f)
		if t.Failed() {
			t.FailNow()
		}
	}
	// leads writes through the one that leads, and reads it from the other.
	leads := func(t *testing.T, leader, follower *member) {
		t.Helper()
		leader.waitStatus("/primary", 200)
		follower.waitStatus("/replica?lag=1MB", 200)
		if _, err := leader.sql("INSERT INTO rows SELECT count(*) + 1 FROM rows"); err != nil {
			t.Fatal(err)
		}
		want, err := leader.sql("SELECT count(*) || ' ' || sum(id) FROM rows")
		if err != nil {
			t.Fatal(err)
		}
		follower.waitSQL("SELECT count(*) || ' ' || sum(id) FROM rows", want)
	}
	step("target_that_is_not_there_is_refused_at_once", func(t *testing.T) {
		before := started(a)
		s.asks(t, 3, "there is no member db-replica-9", "promote", release+"-replica-9")
		s.asks(t, 0, "leads already", "promote", a.pod)
		s.asks(t, 0, "db-replica-0 does not lead", "demote", b.pod)
		a.waitFor("the replica is fit", func() bool {
			out, code := s.role("switchover", "--dry-run")
			return code == 0 && strings.Contains(out, "dry run: would be handing over to db-replica-0")
		})
		if after := started(a); after != before || strings.Contains(s.record(), "intents") {
			t.Errorf("server of %s, before %s; record %s", after, before, s.record())
		}
	})
	step("keeper_of_a_replica_passes_orders_on", func(t *testing.T) {
		s.asks(t, 0, "db-primary-0 leads already", "promote", a.pod, "--keepers", addresses[1])
		s.asks(t, 3, "there is no member", "fence", "nobody", "--keepers", addresses[1])
	})
	step("switchover_to_a_named_member", func(t *testing.T) {
		s.asks(t, 0, "db-replica-0 leads in epoch 1.2 on timeline 2, and the Service for writing leads to it", "switchover", "--to", b.pod, "--id", "first")
		leads(t, b, a)
		s.asks(t, 0, "db-replica-0 leads in epoch 1.2", "switchover", "--to", b.pod, "--id", "first") // the same id again only reports
		if r := s.record(); !strings.Contains(r, `"local":2}`) || !strings.Contains(r, `"state":"done"`) {
			t.Errorf("record %s", r)
		}
		b.waitFor("the transition stands in the record", func() bool { return strings.Contains(s.record(), `"name":"publish"`) })
		b.waitFor("an event tells of it", func() bool { return s.told("LeaderChanged") })
		out, _ := s.role("status")
		for _, part := range []string{"db-replica-0 follows db-primary-0 in epoch 1.2: prepare ", ", stop ", ", elect ", ", promote ", ", publish "} {
			if !strings.Contains(out, part) {
				t.Errorf("%q is not told", part)
			}
		}
	})
	step("switchover_back_to_the_best", func(t *testing.T) {
		s.asks(t, 0, "db-primary-0 leads in epoch 1.3 on timeline 3", "demote", b.pod)
		leads(t, a, b)
	})
	step("intent_outlives_the_leaders_keeper", func(t *testing.T) {
		b.keeper.Signal(t, syscall.SIGSTOP)
		s.asks(t, 0, "accepted: db-replica-0 cannot follow: it was not heard", "switchover", "--to", b.pod, "--id", "waits", "--wait=false")
		a.keeper.Kill()
		a.startKeeper()
		a.waitStatus("/primary", 200)
		b.keeper.Signal(t, syscall.SIGCONT)
		s.asks(t, 0, "db-replica-0 leads in epoch 1.4 on timeline 4", "switchover", "--to", b.pod, "--id", "waits")
		leads(t, b, a)
		s.asks(t, 0, "db-primary-0 leads in epoch 1.5 on timeline 5", "switchover")
		leads(t, a, b)
	})
	step("shutdown_that_hangs_is_called_off", func(t *testing.T) {
		// A session that stops itself: a fast shutdown waits for it without end.
		go func() { _, _ = a.sql("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; kill -STOP $PPID; sleep 1'") }()
		a.waitSQL("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT 1) TO PROGRAM%'", "1")
		time.Sleep(time.Second) // the shell runs a moment after the query shows
		s.asks(t, 3, "did not shut down within 10s; db-primary-0 goes on as primary in epoch 1.5", "switchover")
		leads(t, a, b)
	})
	step("fenced_replica_stays_stopped_through_restarts", func(t *testing.T) {
		s.asks(t, 0, "db-replica-0 is stopped", "fence", b.pod, "--reason", "bad memory")
		b.waitFor("noted on the volume", func() bool { v := b.state().Volume; return v != nil && v.Fenced })
		b.remove()
		b.held = true // seed has to wait until it is lifted
		b.create()
		s.asks(t, 3, "it is fenced by hand", "promote", b.pod)
		s.asks(t, 3, "db-replica-0 must not lead", "fence", a.pod, "--for", "1s")
		time.Sleep(3 * time.Second)
		if st := b.state(); st.Server != grant.Down {
			t.Errorf("it runs: %+v", st)
		}
		s.asks(t, 0, "is not fenced", "unfence", b.pod, "--wait=false")
		b.held = false
		b.resume()
		s.asks(t, 0, "runs as standby", "unfence", b.pod)
		leads(t, a, b)
		b.waitFor("the note is taken away", func() bool { v := b.state().Volume; return v != nil && !v.Fenced })
	})
	step("fenced_leader_hands_over_first", func(t *testing.T) {
		s.asks(t, 0, "db-replica-0 leads in epoch 1.6 on timeline 6, and the Service for writing leads to it; db-primary-0 is stopped", "fence", a.pod)
		b.waitStatus("/primary", 200)
		s.asks(t, 0, "runs as standby", "unfence", a.pod)
		leads(t, b, a)
	})
	step("last_copy_is_unfenced_although_nobody_leads", func(t *testing.T) {
		s.asks(t, 0, "db-primary-0 is stopped", "fence", a.pod)
		b.kill()
		s.asks(t, 0, "db-primary-0 is not fenced, and its server runs as", "unfence", a.pod)
		a.waitStatus("/primary", 200)
		if strings.Contains(s.record(), `"fenced":[`) {
			t.Errorf("still listed: %s", s.record())
		}
		b.create()
		leads(t, a, b)
		s.asks(t, 0, "db-replica-0 leads in epoch 1.8 on timeline 8", "switchover", "--to", b.pod)
		leads(t, b, a)
	})
	step("nobody_takes_over_while_paused_until_a_person_says_so", func(t *testing.T) {
		s.asks(t, 0, "paused for 1h0m0s", "pause", "--for", "1h", "--reason", "new disks")
		s.asks(t, 3, "switchovers are paused", "switchover")
		b.kill()
		time.Sleep(15 * time.Second) // the lease lasts 10 s
		if !strings.Contains(s.record(), `"local":8}`) {
			t.Fatalf("somebody took over: %s", s.record())
		}
		s.asks(t, 0, "the pause is lifted at the 1 keepers", "resume")
		a.waitStatus("/primary", 200)
		a.waitFor("the pause is out of the record", func() bool { return !strings.Contains(s.record(), "pause") })
		b.create()
		leads(t, a, b)
		out, code := s.role("status")
		if code != 0 || !strings.Contains(out, "epoch 1.9, timeline 9: db-primary-0 leads, writable\n") {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
	step("frozen_replica_does_not_hold_a_switchover_up", func(t *testing.T) {
		c := s.member(release+"-replica-1", "replica")
		c.create()
		c.waitStatus("/replica?lag=1MB", 200)
		a.waitSQL("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "2") // its slot is made a little later
		freeze := "DO $$ BEGIN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'cat >/dev/null; kill -STOP ' || (SELECT pid FROM pg_stat_wal_receiver)); END $$"
		if _, err := c.sql(freeze); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.asks(t, 0, "db-replica-0 leads in epoch 1.10 on timeline 10", "switchover", "--to", b.pod)
		if !strings.Contains(a.keeper.Stderr(), `"msg":"walsender ended before the switchover"`) {
			t.Errorf("after %v: no walsender was ended", time.Since(began))
		}
		leads(t, b, a)
		if _, err := c.sql("SELECT 1"); err != nil {
			t.Errorf("the frozen one's server: %v", err)
		}
	})
	step("primary_set_gets_the_lead_back", func(t *testing.T) {
		path := b.at("settings/settings.yaml")
		is := string(b.root.ReadFile(t, path))
		b.root.WriteFile(t, path, []byte(strings.Replace(is, "failover: {", "failover: {failBackAfter: 3s", 1)), 0o600)
		leads(t, a, b)
		if r := s.record(); !strings.Contains(r, "fail-back to the primary set") || !strings.Contains(r, `"local":11}`) {
			t.Errorf("record %s", r)
		}
		time.Sleep(7 * time.Second) // longer than a leader takes to look whether it is to hand back
		if r := s.record(); !strings.Contains(r, `"local":11}`) {
			t.Errorf("it went on: %s", r)
		}
	})
}
