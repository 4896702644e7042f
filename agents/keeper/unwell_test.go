package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A leader whose keeper renews and whose server is not well. The steps build on each other.
func TestUnwellServer(t *testing.T) {
	s := newSiteApart(t, 17)
	s.failover = "promoteTimeout: 30s, hangTimeout: 10s"
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
	leader := func(not *member) (l *member) {
		t.Helper()
		a.waitFor("somebody leads", func() bool {
			for _, m := range all {
				if code, _ := m.get("/primary"); code == 200 && m != not {
					l = m
				}
			}
			return l != nil
		})
		return l
	}
	// whole: the leader's rows are on every member.
	rows := 0
	whole := func(t *testing.T, l *member) {
		t.Helper()
		rows++
		l.waitFor("a row is written", func() bool {
			_, err := l.sql(fmt.Sprintf("INSERT INTO rows VALUES (%d)", rows))
			return err == nil
		})
		for _, m := range all {
			m.waitSQL("SELECT count(*) || ' ' || max(id) FROM rows", fmt.Sprintf("%d %d", rows, rows))
		}
	}
	step := func(name string, f func(t *testing.T)) {
		t.Run(name, f)
		if t.Failed() {
			t.FailNow()
		}
	}
	signal := func(m *member, sig syscall.Signal) {
		var postmaster int
		for _, p := range m.guard.Children() {
			postmaster = p.PID
		}
		if postmaster == 0 {
			t.Fatal("no server runs")
		}
		for _, pid := range append(childrenOf(t, postmaster), postmaster) {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Log(err)
			}
		}
	}

	step("a_locked_catalog_and_a_hung_query_are_no_hung_server", func(t *testing.T) {
		before, epoch := s.record(), `"epoch":{"site":1,"local":1}`
		for _, q := range []string{
			"BEGIN; LOCK TABLE pg_catalog.pg_class, pg_catalog.pg_proc, pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(25)",
			"SELECT pg_sleep(25)",
		} {
			go func() { _, _ = a.sql(q) }()
		}
		time.Sleep(27 * time.Second) // nearly three times hangTimeout: nothing is to happen meanwhile
		if after := s.record(); !strings.Contains(after, epoch) || strings.Contains(a.keeper.Stderr(), "answered nobody") {
			t.Errorf("another reign: %s, before %s", after, before)
		}
		whole(t, leader(nil))
	})
	step("stopped_server_is_killed_and_another_member_leads", func(t *testing.T) {
		old := leader(nil)
		signal(old, syscall.SIGSTOP)
		began := time.Now()
		next := leader(old)
		took := time.Since(began)
		t.Logf("another member leads after %v", took)
		if took < 10*time.Second || took > 25*time.Second {
			t.Errorf("another member leads after %v, want 10s to 25s", took)
		}
		if !strings.Contains(old.keeper.Stderr(), "answered nobody for 10s") {
			t.Error("the reason is not told")
		}
		old.waitStatus("/replica?lag=1MB", 200)
		whole(t, next)
	})
	step("server_that_never_starts_gives_the_right_up", func(t *testing.T) {
		old := leader(nil)
		data := s.root.Outside(old.volume + "/pgdata")
		if err := os.Rename(data+"/pg_notify", data+"/pg_notify.away"); err != nil {
			t.Fatal(err)
		}
		signal(old, syscall.SIGKILL)
		began := time.Now()
		next := leader(old)
		t.Logf("another member leads after %v", time.Since(began))
		if time.Since(began) < 30*time.Second || !strings.Contains(old.keeper.Stderr(), "failover.promoteTimeout") {
			t.Errorf("another member leads after %v, want no less than promoteTimeout, and the reason", time.Since(began))
		}
		if err := os.Rename(data+"/pg_notify.away", data+"/pg_notify"); err != nil {
			t.Fatal(err)
		}
		old.waitStatus("/replica?lag=1MB", 200)
		whole(t, next)
	})
	step("third_time_in_ten_minutes_a_person_is_asked", func(t *testing.T) {
		old := leader(nil)
		signal(old, syscall.SIGSTOP)
		old.waitFor("a person is told", func() bool { return strings.Contains(old.reason(), "given up 2 times in ten minutes") })
		signal(old, syscall.SIGCONT)
		old.waitStatus("/primary", 200)
		whole(t, old)
	})
}

// SAFETY D27: a crash with much WAL to go through costs no longer than another member's promotion, when that one has all of it.
func TestLongRecovery(t *testing.T) {
	s := newSiteApart(t, 17)
	a, b := s.member(release+"-primary-0", "primary"), s.member(release+"-replica-0", "replica")
	a.create()
	a.waitStatus("/primary", 200)
	b.create()
	b.waitStatus("/replica?lag=1MB", 200)
	for _, q := range []string{
		"CREATE TABLE rows (id int)", "ALTER SYSTEM SET checkpoint_timeout = '1h'", "ALTER SYSTEM SET max_wal_size = '4GB'", "SELECT pg_reload_conf()", "CHECKPOINT",
		"SELECT count(pg_logical_emit_message(false, 'much', repeat('x', 1000000))) FROM generate_series(1, 300)", // much to read, and nothing to do about it
		"CREATE TABLE much AS SELECT md5(i::text) AS digest FROM generate_series(1, 500000) AS i", "CREATE INDEX ON much (digest)",
		"UPDATE much SET digest = md5(digest)", // a recovery that goes over this takes longer than the members take to agree
		"INSERT INTO rows VALUES (1)",
	} {
		if _, err := a.sql(q); err != nil {
			t.Fatal(err)
		}
	}
	b.waitSQL("SELECT count(*) FROM rows", "1")
	time.Sleep(2500 * time.Millisecond) // its keeper asks it each second how far it has come
	for _, p := range a.guard.Children() {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	b.waitStatus("/primary", 200)
	t.Logf("another member leads after %v", time.Since(began))
	if said := a.keeper.Stderr(); !strings.Contains(said, b.pod+" lacks nothing") {
		t.Error("the reason is not told")
	}
	a.waitStatus("/replica?lag=1MB", 200)
	b.waitSQL("SELECT count(*) FROM rows", "1")
	a.waitSQL("SELECT count(*) FROM rows", "1")
}

// childrenOf are the processes below another one.
func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		text := string(b)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		var child int
		if _, err := fmt.Sscan(text, &child); err == nil && len(fields) > 1 && fields[1] == fmt.Sprint(pid) {
			pids = append(pids, child)
		}
	}
	return pids
}
