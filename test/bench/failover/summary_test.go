package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/test/bench/results"
)

func keepAll(t *testing.T, run *results.Run, kase, arm, mode string, gaps []float64, more map[string]float64) {
	t.Helper()
	for i, gap := range gaps {
		values := map[string]float64{"gap_s": gap, "overlap_s": 0, "failed": 0, "lost": 0, "held_lost": 0}
		for k, v := range more {
			values[k] = v
		}
		if err := run.Add(trial{kase, arm, mode, i + 1}.labels(), values); err != nil {
			t.Fatal(err)
		}
	}
}

func full(t *testing.T) *results.Run {
	run := begin(t)
	for _, kase := range events {
		keepAll(t, run, kase, ours, modeAsync, []float64{0.5, 0.3, 0.9, 0.4}, nil)
		keepAll(t, run, kase, patroniTuned, modeAsync, []float64{3, 2}, map[string]float64{"overlap_s": 9, "lost": 5, "misled": 3})
		keepAll(t, run, kase, ours, modeSync, []float64{100}, nil)
	}
	for _, kase := range stretches {
		keepAll(t, run, kase, ours, modeAsync, []float64{0.1}, map[string]float64{"changes": 0})
		keepAll(t, run, kase, patroniTuned, modeAsync, []float64{0.1}, map[string]float64{"changes": 7})
	}
	return run
}

func TestLastLineIsWhatWasAskedFor(t *testing.T) {
	b, err := json.Marshal(summarize(full(t)).Result)
	if err != nil {
		t.Fatal(err)
	}
	arms := `{"ours":{"n":4,"median_s":0.45,"p95_s":0.84,"max_s":0.9},"patroni_tuned":{"n":2,"median_s":2.5,"p95_s":2.95,"max_s":3}}`
	want := `{"cases":{"switchover":` + arms + `,"crash":` + arms + `,"pod":` + arms + `,"node":` + arms + `},"overlap":0,"lost_sync":0,"false_failovers":0}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func TestWhatWasNotTriedIsNotZero(t *testing.T) {
	b, err := json.Marshal(summarize(begin(t)).Result)
	if want := `{"cases":{},"overlap":null,"lost_sync":null,"false_failovers":null}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
}

func TestSummaryJudges(t *testing.T) {
	for name, c := range map[string]struct {
		change        func(*testing.T, *results.Run)
		wrong, missed string
	}{
		"all_is_well": {func(*testing.T, *results.Run) {}, "", ""},
		"two_servers_acknowledged": {func(t *testing.T, r *results.Run) {
			keepAll(t, r, "pod", ours, modeAsync, []float64{1}, map[string]float64{"overlap_s": 0.02})
		}, "two servers acknowledged at once for 0.020 s", ""},
		"overlap_in_a_bad_stretch": {func(t *testing.T, r *results.Run) {
			keepAll(t, r, "starved", ours, modeAsync, []float64{1}, map[string]float64{"overlap_s": 0.02, "changes": 0})
		}, "two servers acknowledged at once", ""},
		"synchronous_row_lost": {func(t *testing.T, r *results.Run) {
			keepAll(t, r, "node", ours, modeSync, []float64{1}, map[string]float64{"held_lost": 1})
		}, "1 rows acknowledged in synchronous mode are lost", ""},
		"asynchronous_row_lost": {func(t *testing.T, r *results.Run) {
			keepAll(t, r, "node", ours, modeAsync, []float64{1}, map[string]float64{"lost": 9})
		}, "", ""},
		"failover_nobody_called_for": {func(t *testing.T, r *results.Run) {
			keepAll(t, r, "slowdisk", ours, modeAsync, []float64{1}, map[string]float64{"changes": 2})
		}, "2 failovers that nothing called for", ""},
		"too_slow": {func(t *testing.T, r *results.Run) {
			keepAll(t, r, "switchover", ours, modeAsync, []float64{4, 4, 4, 4, 4}, nil)
		}, "", "switchover: median 4.00 s, to reach 1.0 s"},
		"rows_nobody_wrote": {func(t *testing.T, r *results.Run) {
			keepAll(t, r, "pod", ours, modeAsync, []float64{1}, map[string]float64{"phantom": 1})
		}, "rows that nobody wrote", ""},
		"nobody_to_ask": {func(t *testing.T, r *results.Run) {
			if err := r.Add(trial{"pod", ours, modeSync, 2}.labels(), map[string]float64{"gap_s": 120, "failed": 1, "overlap_s": 0}); err != nil {
				t.Fatal(err)
			}
		}, "after 1 trials nobody could be asked for the rows", ""},
	} {
		t.Run(name, func(t *testing.T) {
			run := full(t)
			c.change(t, run)
			s := summarize(run)
			for what, pair := range map[string][2]string{"wrong": {strings.Join(s.Wrong, "; "), c.wrong}, "missed": {strings.Join(s.Missed, "; "), c.missed}} {
				if got, want := pair[0], pair[1]; want == "" && got != "" || !strings.Contains(got, want) {
					t.Errorf("%s: got %q, want %q", what, got, want)
				}
			}
			if (s.err() != nil) != (c.wrong != "") {
				t.Errorf("err %v", s.err())
			}
		})
	}
}

func TestPageSaysHowFewTrialsThereAre(t *testing.T) {
	run := full(t)
	if err := run.Add(map[string]string{"case": "setup", "of": "node", "arm": ours, "why": "x"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, arm := range []string{"pgspan", "patroni"} {
		labels := map[string]string{"case": "settings", "arm": arm, "product": arm + " 4", "server": "17.9"}
		for _, name := range told {
			labels[name] = "value of " + arm
		}
		if err := run.Add(labels, nil); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	t.Chdir(dir)
	p := page(run, summarize(run))
	if p.Chart == nil || len(p.Chart.Series) != 3 || len(p.Chart.Series[0].Points) != 16 {
		t.Errorf("chart: %+v", p.Chart)
	}
	whole := p.Text + strings.Join(p.Notes, "\n")
	for _, row := range p.Rows {
		whole += "\n" + strings.Join(row, "|")
	}
	for _, want := range []string{
		"The smallest group has 2 trials, of 20", "\nnode|pgspan|4|0.45|0.84|0.90|10.0|0|0|0|0", "\npod|Patroni, floor|2|2.50|2.95|3.00||0|6|9|10",
		"\nnode, cut off|pgspan|2|", "\nnode, killed|pgspan|2|", "\ncrash, synchronous|pgspan|1|100.00", "1 trials could not begin", "| `ssl` | value of pgspan | value of patroni |",
		"starved, Patroni, floor: 7 changes of leader",
	} {
		if !strings.Contains(whole, want) {
			t.Errorf("%q is missing in\n%s", want, whole)
		}
	}
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the page is written beside the working directory's files: %v, %v", left, err)
	}
}

func TestGapsOfNodesAreToldApart(t *testing.T) {
	run := begin(t)
	keepAll(t, run, "node", ours, modeAsync, []float64{1, 10, 1, 10}, nil)
	for parity, want := range map[int]string{0: "10.00", 1: "1.00"} {
		if got := gapRow(run, "x", "node", ours, modeAsync, func(n int) bool { return n%2 == parity }); got[3] != want || got[2] != strconv.Itoa(2) {
			t.Errorf("numbers with rest %d: got %v", parity, got)
		}
	}
}
