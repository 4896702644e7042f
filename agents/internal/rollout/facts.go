// Package rollout decides what the leader does next to bring every pod to its set's newest revision and every server to settings that wait
// for a restart: one member at a time, replicas first, each back before the next, then a switchover, then the old primary. It is a pure
// function: facts in, one deed with its reason out. What is left to do follows from the facts alone, so a rollout that was interrupted at any
// point, or whose leader has changed, goes on where it is.
package rollout

import (
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// Member is one pod that the sets ask for, by the word of the API, of its own keeper and of its leader.
type Member struct {
	Pod string
	// ID is its volume, UID the present pod's. Empty: not known, or there is none.
	ID, UID string
	Leads   bool
	// Fenced: a person keeps it stopped. It is left as it is.
	Fenced bool
	// Revision is the pod's, Target its set's newest.
	Revision, Target string
	Deleting         bool
	// Problem is why it does not serve as it should: it is not heard, not ready, does not stream, lacks too much. Empty: it is fit. For is how
	// long that has been so.
	Problem string
	For     time.Duration
	// Settings names what its configuration was last rendered from, Run the present run of its server. Empty: not known.
	Settings, Run string
	// Pending are settings that wait for a restart of its server; Raised those that it keeps higher than asked for, because its leader has as
	// much.
	Pending, Raised []string
	// Unusable are settings that its server cannot take: it would not start with them.
	Unusable []string
}

func (m Member) stale() bool { return m.UID != "" && m.Revision != m.Target }

// Facts are all that a verdict rests on.
type Facts struct {
	// Order is the rollout as it stands in the record, Left how long it may still stand still.
	Order record.Rollout
	Left  time.Duration
	// Leads: this member's right is in force, its server writes, on the record's timeline.
	Leads bool
	// Unknown is what could not be found out; empty: nothing.
	Unknown   string
	PauseLeft time.Duration
	// Intent is what is under way by an intent, as a sentence. Refused is why the switchover of this rollout, in this epoch, was refused.
	Intent, Refused string
	// Major is PostgreSQL's version of the data, WantedMajor what the settings say now; 0: not known.
	Major, WantedMajor int
	// Members are all that the sets ask for, the leader among them.
	Members []Member
	// Quiet is for how long nothing has been left to do.
	Quiet time.Duration
}

// Deed is what is to be done.
type Deed int

const (
	// Wait: the reason says for what.
	Wait Deed = iota
	// Begin the step: replace a pod, or restart a server. A step that stands in the record already is begun again, which does no harm.
	Begin
	// Watch: the step's member is back, and is watched for a while, because it is the first.
	Watch
	// End the step: its member is back.
	End
	// SwitchOver to another member.
	SwitchOver
	// Finish: nothing is left to do.
	Finish
	// Stop: nothing more is touched. A person decides.
	Stop
)

// Verdict is one deed.
type Verdict struct {
	Deed   Deed
	Step   record.Step
	Reason string
	// Idle: nothing is left to do, as far as can be seen now.
	Idle bool
}

func wait(reason string) Verdict { return Verdict{Reason: reason} }
