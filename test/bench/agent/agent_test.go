package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/bench/results"
)

func TestParse(t *testing.T) {
	const status = "Name:\tkeeper\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\nRssFile:\t     512 kB\n"
	const stat = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 7 5 900 900 20 0 9 0 4711 1 2"
	u, err := parse([]byte(stat), []byte(status))
	if err != nil {
		t.Fatal(err)
	}
	if want := (usage{rss: 2, anon: 1, file: 0.5, peak: 3, cpu: 120 * time.Millisecond}); u != want {
		t.Errorf("got %+v, want %+v", u, want)
	}
	for name, c := range map[string][2]string{
		"process_that_ends_has_no_memory": {stat, "Name:\tkeeper\n"},
		"short_stat":                      {"12 (a) S 1 2", status},
		"no_name":                         {"12", status},
	} {
		if u, err := parse([]byte(c[0]), []byte(c[1])); err == nil {
			t.Errorf("%s: got %+v and no error", name, u)
		}
	}
}

func TestReadMeasuresWhatAProcessUses(t *testing.T) {
	before, err := read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 64<<20)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		for i := 0; i < len(big); i += 4096 {
			big[i]++
		}
	}
	after, err := read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if used := after.cpu - before.cpu; used < 50*time.Millisecond {
		t.Errorf("%v of processor time for 300 ms of work", used)
	}
	if grown := after.rss - before.rss; grown < 60 || after.anon < 60 {
		t.Errorf("resident memory grew by %.1f MiB for 64 more (%d)", grown, big[0])
	}
}

func TestFindKnowsPodsApart(t *testing.T) {
	sleep := exec.Command("sleep", "60")
	sleep.Env = append(os.Environ(), "PGSPAN_POD_UID=bench-test-1")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleep.Process.Kill(); _ = sleep.Wait() }()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		pid, err := find("sleep", "bench-test-1")
		if err == nil && pid == sleep.Process.Pid {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %d, %v, want %d", pid, err, sleep.Process.Pid)
		}
	}
	if pid, err := find("sleep", "bench-test"); err == nil {
		t.Errorf("process %d was taken for one of another pod", pid)
	}
}

func TestSummary(t *testing.T) {
	type process struct {
		agent, pod string
		rss, cpu   float64
	}
	good := []process{{"keeper", "primary", 18, 0.4}, {"guard", "primary", 11, 0.3}, {"floor", "", 9, 0.1}}
	for _, tt := range []struct {
		name  string
		is    []process
		wrong string
	}{
		{"within_the_goals", good, ""},
		{"keeper_is_too_large", append([]process{{"keeper", "replica", 20.1, 0.4}}, good...), "keeper of the replica has 20.1 MiB"},
		{"guard_is_too_busy", append([]process{{"guard", "replica", 11, 0.6}}, good...), "guard of the replica takes 0.60 %"},
		{"floor_is_not_judged", append([]process{{"floor", "", 99, 9}}, good...), ""},
		{"guard_was_not_measured", good[:1], "no guard was measured"},
		{"nothing_was_measured", nil, "no keeper was measured; no guard was measured"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run, err := results.Begin(filepath.Join(t.TempDir(), "agent.jsonl"), results.Setting{})
			if err != nil {
				t.Fatal(err)
			}
			for n := range 3 {
				for _, p := range tt.is {
					err := run.Add(map[string]string{"agent": p.agent, "pod": p.pod, "n": strconv.Itoa(n)},
						map[string]float64{"minutes": float64(n) / 2, "rssMiB": p.rss, "anonMiB": 5, "cpuPercent": p.cpu})
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			s := summarize(run)
			if got := strings.Join(s.Wrong, "; "); tt.wrong == "" && got != "" || !strings.Contains(got, tt.wrong) {
				t.Errorf("wrong: got %q, want %q", got, tt.wrong)
			}
			if err := page(run, s).Write(); err != nil {
				t.Error(err)
			}
		})
	}
}
