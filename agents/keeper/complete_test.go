package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// complete looks at everything that a new release has when both members run.
func complete(t *testing.T, s *site, primary, replica *member) {
	label := func(m *member) (role, leader any) {
		labels := s.Do(t, "GET", s.path("pods", m.pod), nil)["metadata"].(object)["labels"].(object)
		return labels["pgspan.io/role"], labels["pgspan.io/leader"]
	}
	primary.waitFor("labels", func() bool { r, l := label(primary); return r == "primary" && l == "true" })
	replica.waitFor("labels", func() bool { r, l := label(replica); return r == "replica" && l == nil })

	slice := s.Do(t, "GET", "/apis/discovery.k8s.io/v1/namespaces/"+s.ns+"/endpointslices/"+release+"-rw-ipv4", nil)
	endpoint := slice["endpoints"].([]any)[0].(object)
	if endpoint["targetRef"].(object)["name"] != primary.pod || endpoint["addresses"].([]any)[0] != s.ip ||
		slice["ports"].([]any)[0].(object)["port"] != float64(primary.port) || slice["metadata"].(object)["annotations"].(object)["pgspan.io/epoch"] != "1.1" {
		t.Errorf("service for writing: %v", slice)
	}
	for _, m := range []*member{primary, replica} {
		m.waitFor("its claim says what is on it", func() bool {
			a, _ := s.Do(t, "GET", s.path("persistentvolumeclaims", "data-"+m.pod), nil)["metadata"].(object)["annotations"].(object)
			return a["pgspan.io/system-id"] != nil && a["pgspan.io/epoch"] == "1.1" && a["pgspan.io/timeline"] == "1"
		})
	}
	slot := "pgspan_" + strings.ReplaceAll(replica.claim, "-", "_")
	primary.waitSQL("SELECT slot_name || ' ' || active FROM pg_replication_slots", slot+" true")
	primary.waitSQL("SELECT usename || ' ' || ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)", "pgspan_replication true")
	primary.waitSQL("SELECT count(*) FROM once", "1")
	primary.waitSQL("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'", "app")
	events := s.Do(t, "GET", s.path("events"), nil)["items"].([]any)
	reasons := ""
	for _, e := range events {
		reasons += e.(object)["reason"].(string) + " "
	}
	for _, want := range []string{"BecamePrimary", "BecameReplica", "DatabaseCreated"} {
		if !strings.Contains(reasons, want) {
			t.Errorf("no event %s among %s", want, reasons)
		}
	}
	if code, body := primary.get("/replica"); code != 503 || !strings.Contains(body, "is the primary") {
		t.Errorf("/replica on the primary: %d %s", code, body)
	}
	for _, want := range []string{"pgspan_replication_link_up 1", `pgspan_role{role="replica"} 1`, "pgspan_replication_lag_bytes ", `pgspan_certificate_days{certificate="server"}`, "pgspan_volume_free_bytes "} {
		replica.waitFor("metric "+want, func() bool { _, body := replica.get("/metrics"); return strings.Contains(body, "\n"+want) })
	}
}

// rest measures what the keepers cost when nothing happens: memory now, and processor time over a while.
func rest(t *testing.T, members ...*member) {
	const window, tick = 10 * time.Second, 100 // USER_HZ
	ticks := func(m *member) int {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.keeper.PID))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		return user + system
	}
	before := map[*member]int{}
	for _, m := range members {
		before[m] = ticks(m)
	}
	time.Sleep(window)
	for _, m := range members {
		used := float64(ticks(m)-before[m]) / tick / window.Seconds() * 100
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", m.keeper.PID))
		if err != nil {
			t.Fatal(err)
		}
		rss := 0
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "Rss:") {
				rss, _ = strconv.Atoi(strings.Fields(line)[1])
			}
		}
		t.Logf("%s: %.1f MB resident, %.2f %% of a core", m.pod, float64(rss)/1024, used)
		// Bounds against a leak or a spinning loop; the goals (20 MB, 0.5 %) are for a benchmark on a quiet machine.
		if rss > 26<<10 || used > 3 {
			t.Errorf("%s costs %.1f MB and %.2f %% of a core, want at most 26 MB and 3 %%", m.pod, float64(rss)/1024, used)
		}
	}
}
