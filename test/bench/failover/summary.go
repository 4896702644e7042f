package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/test/bench/results"
)

// Result is the last line that the benchmark prints. What was not tried is null and never 0.
type Result struct {
	Cases Cases `json:"cases"`
	// Overlap is the longest time, in seconds, for which ours acknowledged on two servers.
	Overlap *float64 `json:"overlap"`
	// LostSync is how many rows ours lost that it had acknowledged in synchronous mode.
	LostSync *float64 `json:"lost_sync"`
	// FalseFailovers is how often ours changed its leader in the minutes of saturated cores and of slow disks.
	FalseFailovers *float64 `json:"false_failovers"`
}

// Cases are the write gaps by case and arm.
type Cases map[string]map[string]Gap

// MarshalJSON keeps the order of the cases.
func (c Cases) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteString("{")
	for _, kase := range events {
		if len(c[kase]) == 0 {
			continue
		}
		text, err := json.Marshal(c[kase])
		if err != nil {
			return nil, err
		}
		if b.Len() > 1 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "%q:%s", kase, text)
	}
	return []byte(b.String() + "}"), nil
}

// Gap is how long nobody could write.
type Gap struct {
	N      int     `json:"n"`
	Median float64 `json:"median_s"`
	P95    float64 `json:"p95_s"`
	Max    float64 `json:"max_s"`
}

// goals are the medians to reach, in seconds.
var goals = map[string]float64{"switchover": 1.0, "crash": 1.5, "pod": 2.0, "node": 10}

// Summary is what a run says.
type Summary struct {
	Result
	// Missed are sentences about goals.
	Missed []string
	// Wrong are sentences about what must never be.
	Wrong []string
	// Untold says that a trial ended with nobody to ask for the rows.
	Untold int
}

// errWrong is a result that must never be.
var errWrong = errors.New("the result is wrong")

func (s Summary) err() error {
	if len(s.Wrong) == 0 {
		return nil
	}
	return errWrong
}

// summarize judges a run's samples.
func summarize(run *results.Run) Summary {
	s := Summary{Result: Result{Cases: Cases{}}}
	for _, kase := range events {
		for _, arm := range allArms {
			gaps := run.Values("gap_s", map[string]string{"case": kase, "arm": arm, "mode": modeAsync})
			if len(gaps) == 0 {
				continue
			}
			spread := results.SpreadOf(gaps)
			if s.Cases[kase] == nil {
				s.Cases[kase] = map[string]Gap{}
			}
			s.Cases[kase][arm] = Gap{spread.N, spread.Median, spread.P95, spread.Max}
		}
		if g, ok := s.Cases[kase][ours]; !ok {
			s.Missed = append(s.Missed, kase+" was not tried")
		} else if g.Median > goals[kase] {
			s.Missed = append(s.Missed, fmt.Sprintf("%s: median %.2f s, to reach %.1f s", kase, g.Median, goals[kase]))
		}
	}
	if overlaps := run.Values("overlap_s", map[string]string{"arm": ours}); len(overlaps) > 0 {
		most := slices.Max(overlaps)
		s.Overlap = &most
		if most > 0 {
			s.Wrong = append(s.Wrong, fmt.Sprintf("two servers acknowledged at once for %.3f s", most))
		}
	} else {
		s.Wrong = append(s.Wrong, "ours was not tried")
	}
	s.LostSync = total(run, modeSync, events, "lost", "held_lost")
	if s.LostSync != nil && *s.LostSync > 0 {
		s.Wrong = append(s.Wrong, fmt.Sprintf("%.0f rows acknowledged in synchronous mode are lost", *s.LostSync))
	}
	s.FalseFailovers = total(run, modeAsync, stretches, "changes")
	if s.FalseFailovers != nil && *s.FalseFailovers > 0 {
		s.Wrong = append(s.Wrong, fmt.Sprintf("%.0f failovers that nothing called for", *s.FalseFailovers))
	}
	if s.LostSync == nil {
		s.Missed = append(s.Missed, "synchronous mode was not tried")
	}
	for _, kase := range stretches {
		if len(run.Values("changes", map[string]string{"case": kase, "arm": ours})) == 0 {
			s.Missed = append(s.Missed, kase+" was not tried")
		}
	}
	for _, sample := range run.Samples {
		if _, ok := sample.Values["gap_s"]; !ok || sample.Labels["arm"] != ours {
			continue
		}
		if _, ok := sample.Values["lost"]; !ok {
			s.Untold++
		}
		if sample.Values["phantom"] > 0 {
			s.Wrong = append(s.Wrong, fmt.Sprintf("%s, trial %s: rows that nobody wrote", sample.Labels["case"], sample.Labels["n"]))
		}
	}
	if s.Untold > 0 {
		s.Wrong = append(s.Wrong, fmt.Sprintf("after %d trials nobody could be asked for the rows", s.Untold))
	}
	return s
}

// total adds figures of ours up; nil if there is no trial that has them.
func total(run *results.Run, mode string, cases []string, figures ...string) *float64 {
	sum, n := 0.0, 0
	for _, kase := range cases {
		for _, figure := range figures {
			for _, v := range run.Values(figure, map[string]string{"case": kase, "arm": ours, "mode": mode}) {
				sum, n = sum+v, n+1
			}
		}
	}
	if n == 0 {
		return nil
	}
	return &sum
}
