package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestFailBack(t *testing.T) {
	type change = func(*Home)
	known := func(s record.State) change {
		return func(h *Home) {
			h.Asked.Record.Intend(record.Intent{ID: FailBackID(h.Asked.Record), State: s, Outcome: "outcome"})
		}
	}
	for name, c := range map[string]struct {
		change change
		due    bool
		fit    string
		says   string
	}{
		"due":                      {nil, true, "home", "has been fit"},
		"nobody_asked_for_it":      {func(h *Home) { h.After = 0 }, false, "", "not asked for"},
		"leader_is_at_home":        {func(h *Home) { h.Asked.Pod = "home" }, false, "", "is of the primary set"},
		"not_fit_long_enough":      {func(h *Home) { h.For = time.Second }, false, "home", "when it has been so"},
		"another_one_was_fit":      {func(h *Home) { h.Fit = "other" }, false, "home", "when it has been so"},
		"does_not_stream":          {func(h *Home) { h.Asked.Successors[1].Problem = "it does not stream" }, false, "", "does not stream"},
		"must_not_lead":            {func(h *Home) { h.Asked.Successors[1].Barred = "fenced" }, false, "", "fenced"},
		"lags":                     {func(h *Home) { h.Asked.Successors[1].Lag = 1 << 30 }, false, "", "lacks"},
		"not_listed":               {func(h *Home) { h.Asked.Successors = h.Asked.Successors[:1] }, false, "", "no member of the primary set is listed"},
		"paused":                   {func(h *Home) { h.Asked.PauseLeft = time.Second }, false, "", "paused"},
		"switchover_under_way":     {func(h *Home) { h.Asked.Record.Intend(record.Intent{ID: "x", State: record.Open}) }, false, "", "something else"},
		"rollout_under_way":        {func(h *Home) { h.Asked.Record.Rollout = &record.Rollout{ID: "x", State: record.Open} }, false, "", "something else"},
		"refused_in_this_epoch":    {known(record.Refused), false, "", "not tried again in this epoch: outcome"},
		"leader_is_being_promoted": {func(h *Home) { h.Asked.Opened = false }, false, "", "no member leads"},
		"right_is_not_in_force":    {func(h *Home) { h.Asked.Leads = false }, false, "", "no member leads"},
		"one_of_an_epoch_before":   {func(h *Home) { known(record.Refused)(h); h.Asked.Record.Epoch = at(4) }, true, "home", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := Home{After: time.Minute, Set: InSet("home"), Fit: "home", For: time.Hour, Asked: Asked{
				Record: recordOf(other), Pod: "away", Leads: true, Opened: true, MaxLag: 1 << 20, Successors: []Successor{{Pod: "third"}, {Pod: "home"}}}}
			if c.change != nil {
				c.change(&h)
			}
			got := FailBack(h)
			if got.Due != c.due || got.Fit != c.fit || !strings.Contains(got.Reason, c.says) {
				t.Errorf("got %+v, want %v %q %q", got, c.due, c.fit, c.says)
			}
		})
	}
}
