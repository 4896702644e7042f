package orders

import (
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Outcome is how an order ended, or that it has not.
type Outcome int

const (
	// Pending: the sentence says what is awaited.
	Pending Outcome = iota
	Done
	Refused
	// Stopped: some of it was done, and no more will be.
	Stopped
)

// Observed judges whether what was ordered can be seen. It is pure: the same view gives the same answer.
func Observed(v View, verb peers.Verb, o peers.Order) (Outcome, string) {
	r, known := v.Record()
	if !known {
		return Pending, "no keeper knows the record"
	}
	if i, ok := r.Intent(o.ID); ok && i.State == record.Refused {
		return Refused, i.Outcome
	}
	switch verb {
	case peers.Switchover:
		return switched(v, r, o)
	case peers.Fence:
		return fenced(v, r, o)
	case peers.Unfence:
		return unfenced(v, r, o)
	case peers.Rollout:
		return rolled(v, r, o)
	case peers.Pause:
		if r.Pause == nil || r.Pause.ID != o.ID {
			return Pending, "the record does not say so yet"
		}
		return Done, fmt.Sprintf("elections and switchovers are paused for %s", time.Duration(r.Pause.Left).Round(time.Second))
	default:
		return resumed(v, r)
	}
}

func switched(v View, r record.Record, o peers.Order) (Outcome, string) {
	i, ok := r.Intent(o.ID)
	if !ok {
		return Pending, "the record does not know the intent"
	}
	if i.State != record.Done {
		if l, leads := v.Leader(); leads {
			return Pending, fmt.Sprintf("%s still leads, in epoch %s", l.Pod, r.Epoch)
		}
		return Pending, "no member leads"
	}
	return serves(v, r, "")
}

// serves: the leader writes, and clients find it.
func serves(v View, r record.Record, and string) (Outcome, string) {
	l, leads := v.Leader()
	switch {
	case !leads:
		return Pending, fmt.Sprintf("the leader of epoch %s is not heard", r.Epoch)
	case l.Role != "primary":
		return Pending, fmt.Sprintf("%s is not writable yet", l.Pod)
	case l.Published != r.Epoch:
		return Pending, fmt.Sprintf("the Service for writing does not lead to %s yet", l.Pod)
	}
	return Done, fmt.Sprintf("%s leads in epoch %s on timeline %d, and the Service for writing leads to it%s", l.Pod, r.Epoch, r.Timeline, and)
}

func rolled(v View, r record.Record, o peers.Order) (Outcome, string) {
	l, leads := v.Leader()
	switch {
	case (r.Rollout == nil || r.Rollout.ID != o.ID) && !leads:
		return Pending, "no member leads"
	case r.Rollout == nil:
		return Pending, "the record does not say so yet"
	case r.Rollout.ID != o.ID:
		return Stopped, fmt.Sprintf("the rollout %s was asked for later and has taken its place", r.Rollout.ID)
	case r.Rollout.State == record.Refused:
		return Stopped, r.Rollout.Outcome
	case r.Rollout.State == record.Done:
		if outcome, sentence := serves(v, r, ""); outcome != Done {
			return outcome, sentence
		}
		return Done, r.Rollout.Outcome
	case !leads:
		return Pending, "no member leads"
	case l.Rollout == "":
		return Pending, fmt.Sprintf("%s, which leads, has not looked yet", l.Pod)
	}
	return Pending, l.Rollout
}

func fenced(v View, r record.Record, o peers.Order) (Outcome, string) {
	word := false
	for _, f := range r.Fenced {
		word = word || f.Pod == o.Pod
	}
	s, heard := v.Pod(o.Pod)
	switch {
	case !word:
		return Pending, "the record does not say so yet"
	case !heard:
		return Pending, o.Pod + " is not heard: it is fenced as soon as it reads the record"
	case s.Server != grant.Down:
		return Pending, o.Pod + " has not stopped yet"
	}
	if _, handedOver := r.Intent(o.ID); handedOver {
		return serves(v, r, fmt.Sprintf("; %s is stopped, and stays so until \"role unfence %s\"", o.Pod, o.Pod))
	}
	return Done, fmt.Sprintf("%s is stopped, and stays so until \"role unfence %s\"", o.Pod, o.Pod)
}

func unfenced(v View, r record.Record, o peers.Order) (Outcome, string) {
	for _, f := range r.Fenced {
		if f.Pod == o.Pod {
			return Pending, "the record does not say so yet"
		}
	}
	s, heard := v.Pod(o.Pod)
	switch {
	case !heard:
		return Pending, o.Pod + " is not fenced; it is not heard"
	case s.Server == grant.Down || s.Server == "":
		return Pending, o.Pod + " is not fenced; its server does not run yet: " + s.Reason
	}
	return Done, fmt.Sprintf("%s is not fenced, and its server runs as %s", o.Pod, s.Server)
}

func resumed(v View, r record.Record) (Outcome, string) {
	if r.Pause == nil {
		return Done, "elections and switchovers are not paused"
	}
	if _, leads := v.Leader(); leads {
		return Pending, "the record does not say so yet"
	}
	for _, s := range v.Heard {
		if s.PauseLeft > 0 {
			return Pending, s.Pod + " has not lifted the pause"
		}
	}
	return Done, fmt.Sprintf("no member leads; the pause is lifted at the %d keepers that were heard", len(v.Heard))
}
