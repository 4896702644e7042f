package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Synchronous mode on real servers: whom commits wait for, and who may lead after what was acknowledged. The steps build on each other.
func TestSynchronousMode(t *testing.T) {
	s := newSiteApart(t, 17)
	s.more = "synchronous: {mode: any, number: 1}"
	a, b, c := s.member(release+"-primary-0", "primary"), s.member(release+"-replica-0", "replica"), s.member(release+"-replica-1", "replica")
	all := []*member{a, b, c}
	a.create()
	a.waitStatus("/primary", 200)
	for _, m := range all[1:] {
		m.create()
		m.waitStatus("/replica?lag=1MB", 200)
	}
	step := func(name string, f func(t *testing.T)) {
		t.Run(name, f)
		if t.Failed() {
			t.FailNow()
		}
	}
	// settled waits until the leader and the record say that commits wait for k of n members.
	settled := func(leader *member, k, n int) {
		t.Helper()
		leader.waitFor(fmt.Sprintf("settled at %d of %d", k, n), func() bool {
			_, metrics := leader.get("/metrics")
			set, _, _ := strings.Cut(s.record()[max(strings.Index(s.record(), `"sync":`), 0):], "}")
			return strings.Contains(metrics, fmt.Sprintf("\npgspan_synchronous_needed{mode=\"any\"} %d\n", k)) && strings.Contains(metrics, fmt.Sprintf("\npgspan_synchronous_set_size{mode=\"any\"} %d\n", n)) &&
				strings.Contains(metrics, "\npgspan_synchronous_state{state=\"settled\"} 1\n") && strings.HasPrefix(set, fmt.Sprintf(`"sync":{"k":%d,`, k)) && strings.Count(set, "-")/4 == n
		})
	}
	rows := 0
	insert := func(t *testing.T, leader *member, limit time.Duration) {
		t.Helper()
		began := time.Now()
		if _, err := leader.sql(fmt.Sprintf("INSERT INTO rows VALUES (%d)", rows+1)); err != nil {
			t.Fatal(err)
		}
		rows++
		if took := time.Since(began); took > limit {
			t.Errorf("a commit took %v, want at most %v", took, limit)
		}
	}
	held := func(t *testing.T, m *member) {
		t.Helper()
		m.waitSQL("SELECT count(*) || ' ' || COALESCE(max(id), 0) FROM rows", fmt.Sprint(rows, " ", rows))
	}
	step("set_grows_to_all_that_stream", func(t *testing.T) {
		settled(a, 1, 2)
		names, err := a.sql("SHOW synchronous_standby_names")
		if want := strings.ReplaceAll(b.claim, "-", "_"); err != nil || !strings.HasPrefix(names, "ANY 1 (") || !strings.Contains(names, `"pgspan_`+want+`"`) {
			t.Errorf("got %q, %v", names, err)
		}
		if names, err := b.sql("SHOW synchronous_standby_names"); err != nil || names != "ANY 1 (pgspan_nobody)" {
			t.Errorf("a replica: got %q, %v", names, err)
		}
		if _, err := a.sql("CREATE TABLE rows (id int)"); err != nil {
			t.Fatal(err)
		}
		insert(t, a, 20*time.Second)
	})
	step("alter_system_does_not_end_it", func(t *testing.T) {
		if _, err := a.sql("ALTER SYSTEM SET synchronous_standby_names = ''"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.sql("SELECT pg_reload_conf()"); err != nil {
			t.Fatal(err)
		}
		a.waitFor("taken back", func() bool {
			out, err := a.sql("SELECT count(*) FROM pg_file_settings WHERE name = 'synchronous_standby_names' AND sourcefile LIKE '%auto.conf'")
			return err == nil && out == "0" && strings.Contains(a.keeper.Stderr(), "settings of ALTER SYSTEM taken back")
		})
		settled(a, 1, 2)
	})
	step("all_replicas_dead_commits_go_on_and_nobody_but_the_leader_leads", func(t *testing.T) {
		b.kill()
		c.kill()
		insert(t, a, 60*time.Second)
		settled(a, 0, 0)
		insert(t, a, 20*time.Second)
		a.kill() // the last two rows are here and nowhere else
		b.create()
		c.held = true // it was taken out of the list, and waits for a leader to list it
		c.create()
		b.waitFor("nobody can be elected", func() bool { return strings.Contains(b.keeper.Stderr(), "nobody knows what was acknowledged") })
		time.Sleep(3 * time.Second)
		if strings.Contains(s.record(), `"local":2}`) {
			t.Fatalf("somebody leads without the last rows: %s", s.record())
		}
		a.create()
		var leader *member
		a.waitFor("somebody leads", func() bool {
			for _, m := range all {
				if code, _ := m.get("/primary"); code == 200 {
					leader = m
				}
			}
			return leader != nil
		})
		held(t, leader)
		c.held = false
		c.resume()
		settled(leader, 1, 2)
		for _, m := range all {
			if m == leader {
				insert(t, m, 20*time.Second)
			}
		}
		for _, m := range all {
			held(t, m)
		}
	})
	step("leader_killed_nothing_acknowledged_is_lost", func(t *testing.T) {
		for i, m := range all {
			if code, _ := m.get("/primary"); code != 200 {
				continue
			}
			insert(t, m, 20*time.Second)
			m.kill()
			others := append(append([]*member{}, all[:i]...), all[i+1:]...)
			var leader *member
			others[0].waitFor("somebody leads", func() bool {
				for _, o := range others {
					if code, _ := o.get("/primary"); code == 200 {
						leader = o
					}
				}
				return leader != nil
			})
			held(t, leader)
			insert(t, leader, 60*time.Second)
			settled(leader, 1, 1)
			return
		}
		t.Fatal("nobody leads")
	})
}
