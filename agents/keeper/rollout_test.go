package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sets makes the two StatefulSets, or tells that their templates have changed to s.revision, as their controller would.
func (s *site) sets(replicas int) {
	s.t.Helper()
	all := "/apis/apps/v1/namespaces/" + s.ns + "/statefulsets"
	for name, n := range map[string]int{release + "-primary": 1, release + "-replica": replicas} {
		have, labels := s.Do(s.t, "GET", all, nil), object{"app": name}
		if !strings.Contains(fmt.Sprint(have["items"]), "name:"+name+" ") {
			s.Do(s.t, "POST", all, object{"metadata": object{"name": name}, "spec": object{
				"replicas": n, "serviceName": "none", "selector": object{"matchLabels": labels}, "updateStrategy": object{"type": "OnDelete"},
				"template": object{"metadata": object{"labels": labels}, "spec": object{"containers": []object{{"name": "postgres", "image": "none"}}}}}})
		}
		s.Do(s.t, "PATCH", all+"/"+name+"/status", object{"status": object{"replicas": n, "observedGeneration": 1, "updateRevision": s.revision}})
	}
}

// gone reports whether the present pod's object was deleted.
func (m *member) gone() bool {
	return !strings.Contains(fmt.Sprint(m.Do(m.t, "GET", m.path("pods"), nil)["items"]), "uid:"+m.uid)
}

// recreate is what kubelet and the set's controller do once somebody has deleted the pod: its containers end, and a new one is made.
func (m *member) recreate() {
	m.t.Helper()
	m.waitFor("the pod is deleted", m.gone)
	m.end()
	m.create()
}

// watch runs a rollout and reports how many servers were not standing at each moment: more than one must never be.
func (s *site) watch(t *testing.T, members ...*member) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			down := []string{}
			for _, m := range members {
				if _, err := m.sql("SELECT 1"); err != nil {
					down = append(down, m.pod)
				}
			}
			if len(down) > 1 {
				t.Errorf("away at once: %v", down)
			}
		}
	})
	return func() { close(done); all.Wait() }
}

// A rollout with real servers: settings that go up, that come down, a standby that has paused, new pods. The steps build on each other.
func TestRollout(t *testing.T) {
	s := newSiteApart(t, 17)
	s.sets(2)
	a, b, c := s.member(release+"-primary-0", "primary"), s.member(release+"-replica-0", "replica"), s.member(release+"-replica-1", "replica")
	members := []*member{a, b, c}
	for i, m := range members {
		m.create()
		m.waitStatus([]string{"/primary", "/replica?lag=1MB"}[min(i, 1)], 200)
	}
	a.waitSQL("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "2")
	if _, err := a.sql("CREATE TABLE rows (id int)"); err != nil {
		t.Fatal(err)
	}
	step := func(name string, f func(t *testing.T)) {
		t.Run(name, f)
		if t.Failed() {
			t.FailNow()
		}
	}
	started := func() (out [3]string) {
		for i, m := range members {
			out[i], _ = m.sql("SELECT pg_postmaster_start_time()")
		}
		return out
	}
	set := func(parameters string) {
		s.parameters = parameters
		for _, m := range members {
			m.configure()
		}
	}
	// leading waits for the one that leads, and gives the others in the order of their names.
	leading := func() (leader *member, others []*member) {
		a.waitFor("somebody leads", func() bool {
			leader, others = nil, nil
			for _, m := range members {
				if code, _ := m.get("/primary"); code == 200 {
					leader = m
				} else {
					others = append(others, m)
				}
			}
			return leader != nil && len(others) == 2
		})
		return leader, others
	}
	all := func(t *testing.T, q, want string) {
		t.Helper()
		var leader *member
		a.waitFor("a row is written", func() bool {
			leader, _ = leading()
			_, err := leader.sql("INSERT INTO rows SELECT count(*) + 1 FROM rows")
			return err == nil
		})
		rows, err := leader.sql("SELECT count(*) || ' ' || sum(id) FROM rows")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			m.waitSQL("SELECT count(*) || ' ' || sum(id) FROM rows", rows)
			m.waitSQL(q, want)
		}
	}
	const limit = "SHOW max_connections"
	step("nothing_to_do_restarts_nothing", func(t *testing.T) {
		before := started()
		a.waitFor("all are fit", func() bool {
			out, code := s.role("rollout", "--dry-run")
			return code == 0 && strings.Contains(out, "nothing would be done")
		})
		s.asks(t, 0, "all 3 members are of the newest revision", "rollout")
		if after := started(); after != before {
			t.Errorf("started %v, before %v", after, before)
		}
	})
	step("setting_that_goes_up_begins_with_the_replicas", func(t *testing.T) {
		before := started()
		set(`max_connections: "70"`)
		a.waitSQL("SELECT count(*) FROM pg_settings WHERE pending_restart", "1")
		out, code := "", 0
		func() {
			defer s.watch(t, members...)()
			out, code = s.role("rollout", "--id", "up", "--timeout", "3m")
		}()
		r0, r1, over := strings.Index(out, "db-replica-0: the server restarts"), strings.Index(out, "db-replica-1: the server restarts"), strings.Index(out, "the switchover up-1.1")
		if code != 0 || r0 < 0 || r1 < r0 || over < r1 {
			t.Errorf("exit code %d: %s", code, out)
		}
		if after := started(); after[0] == before[0] || after[1] == before[1] || after[2] == before[2] {
			t.Errorf("started %v, before %v", after, before)
		}
		all(t, limit, "70")
		s.asks(t, 0, "all 3 members", "rollout", "--id", "up") // the same id again only reports
	})
	step("setting_that_comes_down_begins_with_the_leader_in_place", func(t *testing.T) {
		record := s.record()
		leader, others := leading()
		set(`max_connections: "60"`)
		out, code := s.role("rollout", "--id", "down", "--timeout", "3m")
		first, second := strings.Index(out, "max_connections come down"), strings.Index(out, others[0].pod+": the server restarts")
		if code != 0 || second < 0 || first > second || strings.Contains(out, "the switchover") {
			t.Errorf("%s led, exit code %d: %s", leader.pod, code, out)
		}
		all(t, limit, "60")
		if epochOf(record) != epochOf(s.record()) {
			t.Errorf("another epoch: %s, before %s", s.record(), record)
		}
	})
	step("settings_that_no_server_takes_restart_nothing", func(t *testing.T) {
		before := started()
		set(`max_connections: "60", work_mem: "12 bananas"`)
		s.asks(t, 1, "no server would start with the settings: work_mem: setting could not be applied", "rollout", "--timeout", "3m")
		a.waitFor("it is told", func() bool {
			out, _ := s.role("status")
			return strings.Count(out, "the server cannot take its settings and would not start again: work_mem: ") == 3
		})
		a.waitFor("an event tells of it", func() bool { return s.told("SettingsUnusable") })
		set(`max_connections: "60"`)
		a.waitFor("it is over", func() bool {
			out, _ := s.role("status")
			return !strings.Contains(out, "cannot take its settings")
		})
		if after := started(); after != before {
			t.Errorf("started %v, before %v", after, before)
		}
	})
	step("paused_standby_is_restarted_by_itself", func(t *testing.T) {
		before := started()
		leader, _ := leading()
		set(`max_connections: "80"`)
		leader.waitSQL("SELECT count(*) FROM pg_settings WHERE pending_restart", "1")
		// The leader's postmaster is killed, and begins again with more than its standbys have: they pause.
		if _, err := leader.sql("COPY (SELECT 1) TO PROGRAM 'kill -9 $(head -1 " + leader.volume + "/pgdata/postmaster.pid); cat >/dev/null'"); err == nil {
			t.Log("the session that killed the postmaster was told of no error")
		}
		all(t, limit, "80")
		for i, at := range started() {
			if at == before[i] {
				t.Errorf("%s was not restarted", members[i].pod)
			}
		}
	})
	step("new_pods_replicas_first_and_the_old_primary_last", func(t *testing.T) {
		s.revision = "second"
		s.sets(2)
		leader, others := leading()
		var order []string
		var kubelet sync.WaitGroup
		kubelet.Go(func() {
			for range members {
				var next *member
				for next == nil {
					time.Sleep(50 * time.Millisecond)
					for _, m := range members {
						if m.gone() {
							next = m
						}
					}
				}
				order = append(order, next.pod)
				next.recreate()
			}
		})
		out, code := s.role("rollout", "--soak", "3s", "--timeout", "4m")
		if code != 0 || !strings.Contains(out, "is watched for another") {
			t.Errorf("exit code %d: %s", code, out)
		}
		if code == 0 {
			kubelet.Wait()
		}
		if want := []string{others[0].pod, others[1].pod, leader.pod}; !slices.Equal(order, want) {
			t.Errorf("replaced in the order %v, want %v", order, want)
		}
		all(t, limit, "80")
	})
	step("member_that_does_not_come_back_stops_it_there", func(t *testing.T) {
		s.revision = "third"
		s.sets(2)
		_, others := leading()
		before := started()
		out, code := s.role("rollout", "--for", "8s", "--soak", "0s", "--id", "bad") // there is no kubelet: the first pod stays away
		if code != 1 || !strings.Contains(out, "stopped, because nothing has gone on for 8s: "+others[0].pod+": the new pod is not there yet") {
			t.Errorf("exit code %d: %s", code, out)
		}
		for i, at := range started() {
			if at != before[i] {
				t.Errorf("%s was restarted", members[i].pod)
			}
		}
		if out, _ := s.role("status"); !strings.Contains(out, "rollout bad: stopped") {
			t.Errorf("status: %s", out)
		}
		others[0].recreate()
		others[0].waitStatus("/replica?lag=1MB", 200)
	})
	step("another_major_is_refused_before_anything_is_restarted", func(t *testing.T) {
		was := s.record()
		for _, m := range members {
			text := strings.Replace(string(m.root.ReadFile(t, m.at("settings/settings.yaml"))), "major: 17", "major: 18", 1)
			m.root.WriteFile(t, m.at("settings/settings.yaml"), []byte(text), 0o600)
		}
		defer set(s.parameters)
		a.waitFor("refused", func() bool {
			out, code := s.role("rollout", "--dry-run")
			return code == 3 && strings.Contains(out, "a rollout does not change the major version")
		})
		if epochOf(was) != epochOf(s.record()) {
			t.Errorf("record %s", s.record())
		}
	})
}

func epochOf(record string) string {
	_, rest, _ := strings.Cut(record, `"epoch":{`)
	epoch, _, _ := strings.Cut(rest, "}")
	return epoch
}
