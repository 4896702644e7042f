// Package judge decides what a member is to be. It is a pure function: facts in, a verdict with its reason out. It asks nobody,
// reads no clock and changes nothing, so that every case can stand in a table.
//
// The rules are SAFETY's; the number of the rule stands at each row. The right to write goes to a member that creates the database, to one that
// inherits or is elected, or to one named by a person.
package judge

import (
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Facts is everything a verdict rests on. Instants have been turned into durations by whoever read the clock.
type Facts struct {
	// Me is this incarnation; Member is empty as long as the API has not said which volume this pod has.
	Me   grant.Incarnation
	Pod  string // pod name, for the record's list and for sentences
	Host string // name in certificates
	IP   string // pod IP
	Port int
	// BornPrimary: an empty volume of this pod may become the first primary.
	BornPrimary bool
	// Adopt is a person's word for when there is data and no record: <pod>@<epoch>, who is to lead unless there has been a newer epoch.
	Adopt string
	// Lease is the name of the record's object, for sentences.
	Lease, Namespace string
	// Draining: keeper was told to end.
	Draining bool

	Store    Store
	Local    Local
	Others   Others
	Election Election
	// Promised is for how long this member has promised a leader to take no record and to vote on none (rule 17).
	Promised time.Duration
	// Synchronous: the settings ask for synchronous mode. Sync is whom commits of this reign wait for, as was last decided; nil: nothing was.
	Synchronous bool
	Sync        *grant.Sync
	// Full says that this member's volume has no room left; empty: it has.
	Full string
	// Care is what this member, which leads, has found about its server.
	Care Treatment
	// Handover: this member leads and is to give the right to Heir, by its own wish; nil: it is not.
	Handover *Handover
}

// Handover is a leader's intention to stop in favour of another.
type Handover struct {
	// Heir is the member that is to follow; empty: whoever holds the final position.
	Heir   string
	Reason string
	// Unclean: the server is not well. If its end is not clean, the record is given up all the same, and the members vote.
	Unclean bool
	// Kill: a shutdown would not end, or has not; guard kills the server.
	Kill bool
	// For is for how long it has been under way.
	For time.Duration
}

// Known says what is known of the record.
type Known int

const (
	// Unreachable: never answered. It does not mean absent (rule 19).
	Unreachable Known = iota
	Absent
	Present
	Broken
)

// Store is what this process knows of the record.
type Store struct {
	Known   Known
	Record  record.Record
	Version string
	// Problem is why the record is broken or the store does not answer.
	Problem string
	// Silent is how long the store has not answered.
	Silent time.Duration
	// Mine: this incarnation wrote Record; InForce: and its grant has not run out.
	Mine, InForce bool
	// Seen: this process has seen a record, so an absent one was removed. Vacant is how long it must still be absent before one is created in
	// its place, of AbsentWait altogether.
	Seen               bool
	Vacant, AbsentWait time.Duration
	// Expired: seen unchanged for the recorded duration by this process (rule 4). FreeFor is how long the record has been expired, or
	// released, as this process has seen it.
	Expired bool
	FreeFor time.Duration
	// Unchanged is how long this process has known the present version. What the record says is left of a pause counts from there.
	Unchanged time.Duration
	// Lifted is the id of a pause that a person has ended although nobody leads who could write that.
	Lifted string
	// Unfenced is the name of this member's fence that a person has lifted although nobody leads who could write that.
	Unfenced string
}

// Local is what this pod knows of its own volume and server.
type Local struct {
	// State is what seed or guard reported; nil: nothing yet. Stale: its writer has not been heard for some time.
	State *grant.State
	Stale bool
	// RefusedFor is how long State has said that no server is started.
	RefusedFor time.Duration
	// Previous is the grant that an earlier process of this incarnation, or this one, has written; nil: none.
	Previous *grant.Grant
	// PreviousInForce: Previous is a primary's and has not run out.
	PreviousInForce bool
	// StandbyFor is how long the server has been a standby without interruption.
	StandbyFor time.Duration
	// Standing is how this member stands to an election, as it tells the others.
	Standing Standing
	// Restart is why the server that runs is to be restarted for its settings; empty: it is not, or another one runs by now.
	Restart string
	// Stranger is whom the server streams from although it was told otherwise; empty: nobody.
	Stranger string
	// Mute is for how long the server, which is told to stream from somebody, has received nothing. Refusal is why, in that one's words;
	// Unasked why it could not be asked.
	Mute             time.Duration
	Refusal, Unasked string
	// Replayed is how far the running standby has come; nil: not known, or none runs.
	Replayed *lsn.LSN
}

// Standing is how a member stands to an election.
type Standing struct {
	Member, Pod string
	SystemID    string
	// Version is the record's state on which it has voted: it streams from nobody, and will not by the word of that state. Zero: it has not.
	Version epoch.Version
	// Known: Position on Timeline is the end of its valid WAL (rule 9). Problem says why it is not known.
	Known    bool
	Timeline uint32
	Position lsn.LSN
	Problem  string
	// Barred says why this member must not win, although it counts as heard; empty: it may.
	Barred string
	// Unfit says, of the judging member itself, that it gave the right up lately and why: it wins only when the fit ones had their time. To the
	// others it is barred. Empty: it is fit.
	Unfit    string
	Priority int
}

// Election holds the limits of elections, and the answers of the other listed members.
type Election struct {
	// For is how long this member has voted on the present record, with a store that answers. What was longer ago is no time in which others
	// could have been heard.
	For time.Duration
	// Wait is how long members that are not heard are waited for, in asynchronous mode, and once more for each better one that does not act.
	Wait time.Duration
	// MaxLag is how many bytes a winner may lack of what the record says, in asynchronous mode.
	MaxLag int64
	// MaxDiscard is how many bytes past the fork a diverged member may give up by itself.
	MaxDiscard int64
	// Peers are answers to the question for the present record; who did not answer is not among them.
	Peers []Standing
}

// Volume is one volume of the release as the API knows it.
type Volume struct {
	Member   string // PVC UID
	Pod      string // the pod it belongs to
	SystemID string // as noted on the PVC; empty if no data was ever there
	Epoch    epoch.Epoch
	Timeline uint32
}

// Others is what the API says of the release's volumes and pods. Known is false while that has not been heard.
type Others struct {
	Known   bool
	Volumes []Volume
	// WithData are pods whose keeper reported data on the volume; Empty those that reported none.
	WithData, Empty []string
}

// Do is a change of the record.
type Do int

const (
	Nothing Do = iota
	// Create claims an absent record.
	Create
	// Take replaces the record by one of the next epoch.
	Take
	// Release gives the record back with the final position, once the volume's lock is taken and the shutdown was clean.
	Release
)

// String names the change for logs.
func (d Do) String() string {
	switch d {
	case Create:
		return "create"
	case Take:
		return "take"
	case Release:
		return "release"
	default:
		return "none"
	}
}

// Verdict is what is to be done.
type Verdict struct {
	// Grant is what guard is to be told. Seq, holder and deadline are filled in by whoever writes it. Keep means: leave the grant
	// as it stands.
	Grant grant.Grant
	Keep  bool
	// Fence: Grant stops a server that may write no longer; its deadline is now.
	Fence bool
	// Do changes the record to Record.
	Do     Do
	Record record.Record
	// Version is the store's name for the state of the record that was judged: only that one is replaced.
	Version string
	// Reason is one sentence.
	Reason string
	// End: keeper was told to end and nothing is left to wait for but Do.
	End bool
	// Person: nothing goes on until a person does what Reason says.
	Person bool
}

func wait(reason string) Verdict {
	return Verdict{Grant: grant.Grant{Role: grant.Wait, Reason: reason}, Reason: reason}
}

func person(reason string) Verdict {
	v := wait(reason)
	v.Person = true
	return v
}

func keep(reason string) Verdict { return Verdict{Keep: true, Reason: reason} }
