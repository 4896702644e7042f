package judge

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// Home is what a verdict on a fail-back rests on: whether a leader that is not of the primary set hands over to one that is.
type Home struct {
	// After is for how long a member of the primary set must have been fit without a break; 0: nobody wants a fail-back.
	After time.Duration
	// Asked is what a switchover rests on; its intent is not used.
	Asked Asked
	// Set are the pods of the primary set.
	Set func(pod string) bool
	// Fit is who has been fit when last looked, and For for how long.
	Fit string
	For time.Duration
}

// Return is the verdict: the pod that is fit to be handed over to now, and whether it is time.
type Return struct {
	Fit    string
	Due    bool
	Reason string
}

// FailBackID names the fail-back of an epoch: there is one, and a refused one is not tried again in the same epoch.
func FailBackID(r record.Record) string { return "fail-back-" + r.Epoch.String() }

// FailBack judges. Whatever else is under way goes first, and the time begins anew after it.
func FailBack(h Home) Return {
	a, r := h.Asked, h.Asked.Record
	if h.After <= 0 {
		return Return{Reason: "not asked for"}
	}
	if h.Set(a.Pod) {
		return Return{Reason: a.Pod + " is of the primary set"}
	}
	_, intent := r.OpenIntent()
	_, rollout := r.OpenRollout()
	switch tried, known := r.Intent(FailBackID(r)); {
	case !a.Leads || !a.Opened:
		return Return{Reason: "no member leads and writes"}
	case a.PauseLeft > 0 || intent || rollout:
		return Return{Reason: "something else is under way, or switchovers are paused"}
	case known:
		return Return{Reason: "not tried again in this epoch: " + tried.Outcome}
	}
	why := "no member of the primary set is listed"
	for _, s := range a.Successors {
		if !h.Set(s.Pod) {
			continue
		}
		if why = a.unfit(s); why != "" {
			continue
		}
		if s.Pod != h.Fit || h.For < h.After {
			return Return{Fit: s.Pod, Reason: fmt.Sprintf("%s is fit, and is handed over to when it has been so for %s", s.Pod, h.After)}
		}
		return Return{Fit: s.Pod, Due: true, Reason: fmt.Sprintf("%s has been fit for %s", s.Pod, h.After)}
	}
	return Return{Reason: why}
}

// InSet is a Home.Set of these pods.
func InSet(pods ...string) func(string) bool {
	return func(pod string) bool { return slices.Contains(pods, pod) }
}
