package record

import (
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
)

// keptIntents is how many intents the record remembers: whoever asks with an id that is known is told what became of it, and nothing is
// done twice (SAFETY D42).
const keptIntents = 4

// Intent is what a person asked of the leader. The leader writes it into the record, so that it survives the leader's keeper; only the
// leader's keeper acts on it, only in the epoch it was made for, and only as long as it has time left.
type Intent struct {
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Epoch is the reign that it was made for, From the pod and FromID the member that leads in it.
	Epoch  epoch.Epoch `json:"epoch"`
	From   string      `json:"from"`
	FromID string      `json:"fromID"`
	// Target is the pod that is to lead; empty: the best.
	Target string `json:"target,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Left is how long it may still wait. Clocks of nodes are not compared: whoever writes the record takes off what has passed since the
	// version before, and whoever reads it counts from when it saw it.
	Left Duration `json:"left"`
	// State is open until the outcome is known; Outcome is that outcome in a sentence.
	State   State  `json:"state"`
	Outcome string `json:"outcome,omitempty"`

	unknown extras
}

// Kind is what is wanted.
type Kind string

const (
	// Switchover: another member is to lead.
	Switchover Kind = "switchover"
	// FenceLeader: another member is to lead, and the one that leads is to be stopped then.
	FenceLeader Kind = "fence"
)

// State is what became of an intent.
type State string

const (
	Open    State = "open"
	Done    State = "done"
	Refused State = "refused"
)

// Pause suspends elections and switchovers, as a person asked. Leases, grants and fencing go on as always.
type Pause struct {
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"`
	// Left is how long it lasts, counted like an intent's.
	Left Duration `json:"left"`

	unknown extras
}

// Fenced is a member that a person keeps stopped, through restarts of everything, until it is lifted.
type Fenced struct {
	// ID tells this fence from earlier and later ones of the same member: lifting one where nobody leads must not lift the next.
	ID     string `json:"id,omitempty"`
	Member string `json:"member"`
	Pod    string `json:"pod"`
	Reason string `json:"reason,omitempty"`

	unknown extras
}

// OpenIntent returns the one that is to be acted upon.
func (r Record) OpenIntent() (Intent, bool) {
	i := slices.IndexFunc(r.Intents, func(i Intent) bool { return i.State == Open })
	if i < 0 {
		return Intent{}, false
	}
	return r.Intents[i], true
}

// Intent returns the one with that id, as long as it is remembered.
func (r Record) Intent(id string) (Intent, bool) {
	i := slices.IndexFunc(r.Intents, func(i Intent) bool { return i.ID == id })
	if i < 0 {
		return Intent{}, false
	}
	return r.Intents[i], true
}

// Intend adds an intent and forgets the oldest ones.
func (r *Record) Intend(i Intent) {
	r.Intents = append(r.Intents, i)
	r.Intents = slices.Delete(r.Intents, 0, max(0, len(r.Intents)-keptIntents))
}

// Settle notes what became of an intent. One that is settled stays what it is.
func (r *Record) Settle(id string, s State, outcome string) {
	for i := range r.Intents {
		if r.Intents[i].ID == id && r.Intents[i].State == Open {
			r.Intents[i].State, r.Intents[i].Outcome, r.Intents[i].Left = s, outcome, 0
		}
	}
}

// FencedMember returns a person's word that a member is to be stopped.
func (r Record) FencedMember(id string) (Fenced, bool) {
	i := slices.IndexFunc(r.Fenced, func(f Fenced) bool { return f.Member == id })
	if i < 0 {
		return Fenced{}, false
	}
	return r.Fenced[i], true
}

// Name is what a fence is lifted by: its id, or what a release that gave none would have to go by.
func (f Fenced) Name() string {
	if f.ID == "" {
		return "of " + f.Member
	}
	return f.ID
}

// Fence keeps a member stopped. A later word replaces an earlier one, which may have been lifted where nobody led.
func (r *Record) Fence(f Fenced) {
	r.Unfence(f.Member)
	r.Fenced = append(r.Fenced, f)
}

// Unfence lifts that.
func (r *Record) Unfence(id string) {
	r.Fenced = slices.DeleteFunc(r.Fenced, func(f Fenced) bool { return f.Member == id })
}

// Elapse takes off what has passed since the version before this one was written or seen. What is over goes.
func (r *Record) Elapse(passed time.Duration) {
	for i := range r.GivenUp {
		r.GivenUp[i] = less(r.GivenUp[i], passed)
	}
	if r.GivenUp = slices.DeleteFunc(r.GivenUp, func(d Duration) bool { return d == 0 }); len(r.GivenUp) == 0 {
		r.GivenUp = nil
	}
	for i := range r.Intents {
		r.Intents[i].Left = less(r.Intents[i].Left, passed)
	}
	if o := r.Rollout; o != nil {
		o.Left = less(o.Left, passed)
		if o.Step != nil {
			o.Step.Soak = less(o.Step.Soak, passed)
		}
	}
	if r.Pause == nil {
		return
	}
	if r.Pause.Left = less(r.Pause.Left, passed); r.Pause.Left == 0 {
		r.Pause = nil
	}
}

func less(left Duration, passed time.Duration) Duration {
	return Duration(max(0, time.Duration(left)-max(0, passed)))
}
