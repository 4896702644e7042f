package main

import (
	"time"

	"github.com/pgspan/pgspan/test/bench/results"
	"github.com/pgspan/pgspan/test/writer"
)

// observed is what both writers met in a trial, and which of their rows are there afterwards.
type observed struct {
	log  []writer.Attempt // the common writer, through the Service
	rows map[int64]bool   // nil: nobody could be asked
	held []writer.Attempt // the session held open on the old primary, from its own node
	left map[int64]bool   // its rows

	old        string    // address of the primary before the fault
	begin, end time.Time // of the fault, and of watching
	recovered  bool      // writes came back, as the case demands it
	bound      time.Duration
}

// figures are a trial's values. A trial in which writes did not come back counts with the bound: leaving it out would make the worst
// outcome the best one.
func (o observed) figures() map[string]float64 {
	out := writer.Judge(o.log, o.rows, o.begin, o.end)
	gap := out.Gap
	failed := 0.0
	if !o.recovered {
		gap, failed = max(gap, o.bound), 1
	}
	first := o.firstElsewhere()
	overlap, zombies, heldAcked, heldLost := out.Overlap, 0, 0, 0
	for _, a := range o.held {
		if a.Acked.IsZero() || a.Warned {
			continue
		}
		heldAcked++
		if !o.left[a.ID] {
			heldLost++
		}
		if !first.IsZero() && a.Acked.After(first) {
			zombies++
			overlap = max(overlap, a.Acked.Sub(first))
		}
	}
	changed := 0.0
	if !first.IsZero() {
		changed = 1
	}
	all := map[string]float64{
		"gap_s": results.Round(gap.Seconds()), "overlap_s": results.Round(overlap.Seconds()), "failed": failed, "changed": changed,
		"misled": float64(misled(o.log, o.begin)), "acked": float64(out.Acked), "held_acked": float64(heldAcked), "zombie_acks": float64(zombies),
	}
	if o.rows != nil {
		all["lost"], all["in_doubt"], all["held_lost"] = float64(len(out.Lost)), float64(out.InDoubt), float64(heldLost)
		all["phantom"] = float64(len(out.Phantom) + countUntried(o.held, o.left))
	}
	return all
}

// firstElsewhere is when another server than the old primary first acknowledged after the fault; zero: none did.
func (o observed) firstElsewhere() time.Time {
	for _, a := range o.log {
		if !a.Acked.IsZero() && !a.Warned && a.Server != o.old && a.Acked.After(o.begin) {
			return a.Acked
		}
	}
	return time.Time{}
}

// misled counts the sessions since the fault that the Service for writing led to a server that only reads. The writer leaves each at once; an
// application may stay.
func misled(log []writer.Attempt, begin time.Time) int {
	n := 0
	for _, a := range log {
		if a.ReadOnly() && a.Sent.After(begin) {
			n++
		}
	}
	return n
}

func countUntried(log []writer.Attempt, rows map[int64]bool) int {
	tried := make(map[int64]bool, len(log))
	for _, a := range log {
		tried[a.ID] = true
	}
	n := 0
	for id := range rows {
		if !tried[id] {
			n++
		}
	}
	return n
}

// settledFor is how long writes must have been flowing until they count as back, and steady the longest pause in that time.
const (
	settledFor = 2 * time.Second
	steady     = 500 * time.Millisecond
)

// back reports whether writes have come back after the fault: the last ones flow, and the fault has bitten. It has when another server
// acknowledges, or, where a restart in place is an answer to the fault, when an attempt has failed since.
func back(log []writer.Attempt, old string, begin, now time.Time, inPlace bool) bool {
	bitten := false
	var flowing, last time.Time // since when, and the newest acknowledgement
	for _, a := range log {
		switch {
		case a.Sent.Before(begin):
			continue
		case a.Err != nil:
			bitten = bitten || inPlace
			continue
		case a.Acked.IsZero():
			continue
		}
		bitten = bitten || a.Server != old
		if last.IsZero() || a.Acked.Sub(last) > steady {
			flowing = a.Acked
		}
		last = a.Acked
	}
	return bitten && !last.IsZero() && now.Sub(last) < steady && last.Sub(flowing) >= settledFor
}
