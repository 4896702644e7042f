package main

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/bench/results"
)

// The arms, and the modes in which they run.
const (
	ours           = "ours"
	patroniTuned   = "patroni_tuned"
	patroniDefault = "patroni_default"

	modeAsync = "async"
	modeSync  = "sync"
)

var (
	allArms = []string{ours, patroniTuned, patroniDefault}
	// events are the cases in which the primary goes away; stretches those in which it must not.
	events    = []string{"switchover", "crash", "pod", "node"}
	stretches = []string{"starved", "slowdisk"}
)

// trial is one thing to do. Its number counts from 1 in its case, arm and mode.
type trial struct {
	kase, arm, mode string
	n               int
}

// labels of the trial's sample. Two trials with the same labels are the same trial.
func (t trial) labels() map[string]string {
	return map[string]string{"case": t.kase, "arm": t.arm, "mode": t.mode, "n": strconv.Itoa(t.n)}
}

// how says which of its kinds of fault a case uses: a node is cut off and loses its power in turns.
func (t trial) how() string {
	switch {
	case t.kase != "node":
		return t.kase
	case t.n%2 == 1:
		return "cut"
	default:
		return "kill"
	}
}

// wanted says which trials make a run.
type wanted struct {
	cases, arms []string
	trials      int // of each event and arm
	syncTrials  int // of each event, ours, in synchronous mode: what may be lost there is nothing
	seed        uint64
}

// modes says in which of the modes there shall be trials.
func (w *wanted) modes(chosen []string) {
	if slices.Contains(chosen, modeSync) {
		w.syncTrials = w.trials
	}
	if !slices.Contains(chosen, modeAsync) {
		w.trials = 0
	}
}

// schedule lists the trials in order: round by round, so that all cases and arms see the same weather; the order of the arms is drawn anew
// for each case of each round. Synchronous mode comes after (a change of mode needs a minute), and stretches of minutes come last.
func (w wanted) schedule() []trial {
	var all []trial
	for n := 1; n <= w.trials; n++ {
		for _, kase := range events {
			if !slices.Contains(w.cases, kase) {
				continue
			}
			arms := slices.Clone(w.arms)
			w.source("order", kase, strconv.Itoa(n)).Shuffle(len(arms), func(i, j int) { arms[i], arms[j] = arms[j], arms[i] })
			for _, arm := range arms {
				all = append(all, trial{kase, arm, modeAsync, n})
			}
		}
	}
	for n := 1; n <= w.syncTrials && slices.Contains(w.arms, ours); n++ {
		for _, kase := range events {
			if slices.Contains(w.cases, kase) {
				all = append(all, trial{kase, ours, modeSync, n})
			}
		}
	}
	for _, kase := range stretches {
		if !slices.Contains(w.cases, kase) {
			continue
		}
		// Both products go through the same minutes, Patroni at its floor.
		for _, arm := range w.arms {
			if arm != patroniDefault {
				all = append(all, trial{kase, arm, modeAsync, 1})
			}
		}
	}
	return all
}

// left are the trials of the schedule that a run does not have yet.
func (w wanted) left(run *results.Run) []trial {
	return slices.DeleteFunc(w.schedule(), func(t trial) bool { return run.Has(t.labels()) })
}

// phase is how long to wait before the fault: a lease is renewed at an interval, and what a failover costs depends on where in it the fault
// falls. It is drawn from the whole interval.
func (w wanted) phase(t trial) time.Duration {
	every := time.Second
	if t.arm == patroniDefault {
		every = 10 * time.Second
	}
	return time.Duration(w.source("phase", t.kase, t.arm, t.mode, strconv.Itoa(t.n)).Int64N(int64(every)))
}

// source gives the same numbers for the same seed and words, whatever was drawn before: a run that goes on draws what it would have drawn.
func (w wanted) source(words ...string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join(words, "\x00"))) // never fails
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}
