package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/bench/results"
)

func everything(trials int) wanted {
	return wanted{cases: append(slices.Clone(events), stretches...), arms: allArms, trials: trials, syncTrials: trials, seed: 7}
}

func begin(t *testing.T) *results.Run {
	t.Helper()
	run, err := results.Begin(filepath.Join(t.TempDir(), "failover.jsonl"), results.Setting{Commit: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestScheduleInterleaves(t *testing.T) {
	all := everything(3).schedule()
	if want := 3*4*3 + 3*4 + 2*2; len(all) != want {
		t.Fatalf("%d trials, want %d", len(all), want)
	}
	count := map[trial]int{}
	for i, tr := range all {
		count[tr]++
		if i < 36 && (tr.mode != modeAsync || tr.n != i/12+1 || tr.kase != events[i%12/3]) {
			t.Errorf("trial %d is %+v", i, tr)
		}
	}
	for tr, n := range count {
		if n != 1 {
			t.Errorf("%+v comes %d times", tr, n)
		}
	}
}

func TestOrderOfArmsIsDrawn(t *testing.T) {
	leads := map[string]int{}
	for i, tr := range everything(20).schedule()[:240] {
		if i%3 == 0 {
			leads[tr.arm]++
		}
	}
	for _, arm := range allArms {
		if leads[arm] < 10 {
			t.Errorf("%s comes first in %d of 80", arm, leads[arm])
		}
	}
}

func TestInterruptedRunDoesWhatIsLeft(t *testing.T) {
	w := everything(2)
	run := begin(t)
	for _, tr := range w.schedule()[:5] {
		if err := run.Add(tr.labels(), map[string]float64{"gap_s": 1}); err != nil {
			t.Fatal(err)
		}
	}
	// A set-up that failed is kept beside and is no trial.
	if err := run.Add(map[string]string{"case": "setup", "arm": ours, "of": "crash"}, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := w.left(run), w.schedule()[5:]; !slices.Equal(got, want) {
		t.Errorf("left: %v, want %v", got, want)
	}
	more := everything(3)
	if got, want := len(more.left(run)), len(more.schedule())-5; got != want {
		t.Errorf("with more trials asked for, %d are left, want %d", got, want)
	}
}

func TestModesAreChosen(t *testing.T) {
	for name, c := range map[string]struct {
		chosen      []string
		async, sync int
	}{"one_word_in_the_other": {[]string{modeAsync}, 4, 0}, "synchronous": {[]string{modeSync}, 0, 4}, "both": {[]string{modeAsync, modeSync}, 4, 4}} {
		w := wanted{trials: 4}
		w.modes(c.chosen)
		if w.trials != c.async || w.syncTrials != c.sync {
			t.Errorf("%s: %d and %d trials, want %d and %d", name, w.trials, w.syncTrials, c.async, c.sync)
		}
	}
}

func TestPhaseIsRandomAndRepeatable(t *testing.T) {
	w := everything(20)
	for arm, every := range map[string]time.Duration{ours: time.Second, patroniTuned: time.Second, patroniDefault: 10 * time.Second} {
		quarters := map[int]int{}
		for n := 1; n <= 100; n++ {
			tr := trial{"node", arm, modeAsync, n}
			p := w.phase(tr)
			if p < 0 || p >= every || p != w.phase(tr) {
				t.Fatalf("%s: phase %v, then %v", arm, p, w.phase(tr))
			}
			quarters[int(4*p/every)]++
		}
		for q := range 4 {
			if quarters[q] < 10 {
				t.Errorf("%s: %d of 100 in quarter %d", arm, quarters[q], q)
			}
		}
	}
	other := w
	other.seed = 8
	if tr := (trial{"node", ours, modeAsync, 1}); w.phase(tr) == other.phase(tr) {
		t.Error("another seed gives the same phase")
	}
}

func TestNodeIsCutOffAndKilledInTurns(t *testing.T) {
	got := []string{trial{kase: "node", n: 1}.how(), trial{kase: "node", n: 2}.how(), trial{kase: "node", n: 3}.how(), trial{kase: "crash", n: 1}.how()}
	if want := []string{"cut", "kill", "cut", "crash"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
