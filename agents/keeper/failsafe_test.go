package main

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/kubetest"
)

// SAFETY rule 17: an API that cannot be reached is no dead leader, as long as all who could take its place promise not to. The steps build on
// each other.
func TestFailsafe(t *testing.T) {
	s := newSiteApart(t, 17)
	a, b, c := s.member(release+"-primary-0", "primary"), s.member(release+"-replica-0", "replica"), s.member(release+"-replica-1", "replica")
	all := []*member{a, b, c}
	a.create()
	a.waitStatus("/primary", 200)
	for _, m := range all[1:] {
		m.create()
		m.waitStatus("/replica?lag=1MB", 200)
	}
	if _, err := a.sql("CREATE TABLE rows (id int)"); err != nil {
		t.Fatal(err)
	}
	step := func(name string, f func(t *testing.T)) {
		t.Run(name, f)
		if t.Failed() {
			t.FailNow()
		}
	}
	started := func() string {
		out, _ := a.sql("SELECT pg_postmaster_start_time()")
		return out
	}
	outage := func() {
		for _, m := range all {
			m.proxy.Break(func(*http.Request) kubetest.Fault { return kubetest.Fault{LoseRequest: true} })
		}
	}
	heal := func() {
		for _, m := range all {
			m.proxy.Heal()
		}
	}
	// stays writes for longer than any lease lasts.
	stays := func(t *testing.T) {
		t.Helper()
		before := started()
		outage()
		for end := time.Now().Add(25 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if _, err := a.sql("INSERT INTO rows VALUES (1)"); err != nil {
				t.Fatalf("the primary went down %v before the end: %v", time.Until(end), err)
			}
		}
		heal()
		a.waitFor("the lease is renewed again", func() bool { return strings.Contains(a.keeper.Stderr(), "the store is written again") })
		time.Sleep(12 * time.Second) // promises lapse
		if after := started(); after != before || !strings.Contains(s.record(), `"local":1}`) {
			t.Errorf("server of %s, before %s; record %s", after, before, s.record())
		}
	}
	step("api_down_for_all_the_primary_stays", stays)
	step("keeper_restarts_while_the_api_is_down_and_the_primary_stays", func(t *testing.T) {
		before := started()
		outage()
		a.waitFor("the others have promised", func() bool { return strings.Contains(a.keeper.Stderr(), `"goes_on":true`) })
		a.keeper.Kill()
		a.startKeeper()
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if _, err := a.sql("INSERT INTO rows VALUES (1)"); err != nil {
				t.Fatalf("the primary went down %v before the end: %v", time.Until(end), err)
			}
		}
		a.waitStatus("/primary", 200)
		heal()
		a.waitFor("the lease is renewed again", func() bool { return strings.Contains(a.keeper.Stderr(), "the store is written again") })
		time.Sleep(12 * time.Second) // promises lapse
		if after := started(); after != before || !strings.Contains(s.record(), `"local":1}`) {
			t.Errorf("server of %s, before %s; record %s", after, before, s.record())
		}
	})
	step("a_dead_replica_leaves_the_list_and_the_primary_stays", func(t *testing.T) {
		c.kill()
		list := func() string {
			_, rest, _ := strings.Cut(s.record(), `"members":[`)
			inside, _, _ := strings.Cut(rest, "]")
			return inside
		}
		a.waitFor("the record lists two", func() bool { return strings.Count(list(), `"id"`) == 2 && !strings.Contains(list(), c.claim) })
		slots, err := a.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'pgspan%'")
		if err != nil || slots != "2" {
			t.Errorf("slots: got %s, %v; want that of the one that is away, too", slots, err)
		}
		// The next process of the leader's keeper knows of the absent one by the record alone. To drop its slot would cost it a clone, and to list it
		// again without having heard it would make the next outage of the API the leader's end.
		slot := "SELECT string_agg(slot_name || ' ' || restart_lsn, ', ') FROM pg_replication_slots WHERE slot_name LIKE 'pgspan%' AND NOT active"
		before, err := a.sql(slot)
		if err != nil || before == "" {
			t.Fatalf("the absent one's slot: got %q, %v", before, err)
		}
		a.keeper.Kill()
		a.startKeeper()
		a.waitStatus("/primary", 200)
		for end := time.Now().Add(9 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if after, err := a.sql(slot); err != nil || after != before || strings.Contains(list(), c.claim) {
				t.Fatalf("after a restart of keeper: slot %q, %v, was %q; listed %s", after, err, before, list())
			}
		}
		stays(t)
		c.create()
		c.waitStatus("/replica?lag=1MB", 200)
		a.waitFor("the record lists three", func() bool { return strings.Count(list(), `"id"`) == 3 })
	})
	step("a_replica_that_does_not_answer_ends_it", func(t *testing.T) {
		before := started()
		b.keeper.Signal(t, syscall.SIGSTOP)
		outage()
		at := time.Now()
		a.waitFor("fenced", func() bool { _, err := a.sql("SELECT 1"); return err != nil })
		if took := time.Since(at); took > 10*time.Second {
			t.Errorf("fenced after %v, want before 10s, when others may begin", took)
		}
		b.keeper.Signal(t, syscall.SIGCONT)
		heal()
		a.waitFor("somebody leads", func() bool {
			for _, m := range all {
				if code, _ := m.get("/primary"); code == 200 {
					return true
				}
			}
			return false
		})
		if after := started(); after == before {
			t.Error("the server was never restarted")
		}
	})
	leads := func(not *member) (leader *member) {
		a.waitFor("somebody leads", func() bool {
			for _, m := range all {
				if code, _ := m.get("/primary"); code == 200 && m != not {
					leader = m
				}
			}
			return leader != nil
		})
		return leader
	}
	// whole waits until all others follow the one that leads.
	whole := func() *member {
		old := leads(nil)
		for _, m := range all {
			if m != old {
				m.waitStatus("/replica?lag=1MB", 200)
			}
		}
		return old
	}
	row := 1
	// givesWay breaks the API for the primary alone, for longer than it bears that.
	givesWay := func(t *testing.T, broken func(*http.Request) kubetest.Fault) {
		t.Helper()
		row++
		old := whole()
		if _, err := old.sql(fmt.Sprintf("INSERT INTO rows VALUES (%d)", row)); err != nil {
			t.Fatal(err)
		}
		old.proxy.Break(broken)
		at := time.Now()
		next := leads(old)
		t.Logf("%s follows %s after %v", next.pod, old.pod, time.Since(at))
		if took := time.Since(at); took < 20*time.Second || took > 45*time.Second {
			t.Errorf("handed over after %v, want 20s and what a hand-over takes", took)
		}
		if !strings.Contains(old.keeper.Stderr(), "giving way") {
			t.Error("the leader was fenced and did not hand over")
		}
		next.waitSQL(fmt.Sprintf("SELECT count(*) FROM rows WHERE id = %d", row), "1")
		old.proxy.Heal()
		old.waitStatus("/replica?lag=1MB", 200)
	}
	step("api_cut_for_the_primary_alone_it_gives_way", func(t *testing.T) {
		givesWay(t, func(*http.Request) kubetest.Fault { return kubetest.Fault{LoseRequest: true} })
	})
	step("primary_alone_is_refused_the_record_it_can_read_and_gives_way", func(t *testing.T) {
		givesWay(t, func(r *http.Request) kubetest.Fault {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/leases/") {
				return kubetest.Fault{Status: http.StatusForbidden}
			}
			return kubetest.Fault{}
		})
	})
	step("all_are_refused_the_record_and_the_primary_stays", func(t *testing.T) {
		leader := leads(nil)
		before, _ := leader.sql("SELECT pg_postmaster_start_time()")
		for _, m := range all {
			m.proxy.Break(func(r *http.Request) kubetest.Fault {
				if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/leases/") {
					return kubetest.Fault{Status: http.StatusForbidden}
				}
				return kubetest.Fault{}
			})
		}
		for end := time.Now().Add(35 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if _, err := leader.sql("INSERT INTO rows VALUES (1)"); err != nil {
				t.Fatalf("the primary went down %v before the end: %v", time.Until(end), err)
			}
		}
		heal()
		if after, _ := leader.sql("SELECT pg_postmaster_start_time()"); after != before {
			t.Errorf("server of %s, before %s", after, before)
		}
	})
	// A pod that is deleted by force has no token any more while its containers are still being stopped.
	step("leader_without_a_token_has_its_end_written_by_another", func(t *testing.T) {
		old := whole()
		if _, err := old.sql("INSERT INTO rows VALUES (99)"); err != nil {
			t.Fatal(err)
		}
		old.proxy.Break(func(*http.Request) kubetest.Fault { return kubetest.Fault{Status: http.StatusUnauthorized} })
		time.Sleep(500 * time.Millisecond)
		at := time.Now()
		old.guard.Signal(t, syscall.SIGTERM)
		next := leads(old)
		took := time.Since(at)
		t.Logf("%s follows %s after %v", next.pod, old.pod, took)
		if took > 7*time.Second {
			t.Errorf("another leads after %v: it has waited for the lease of 10s", took)
		}
		next.waitSQL("SELECT count(*) FROM rows WHERE id = 99", "1")
		old.guard.Wait(t, patience)
		old.keeper.Signal(t, syscall.SIGTERM)
		if code := old.keeper.Wait(t, 20*time.Second); code != 0 {
			t.Errorf("keeper: exit status %d", code)
		}
	})
}
