// Package record is the one fact that all members of a site agree on: who may write, in which epoch, on which timeline, and who
// else is there. It is stored as one value and changed by compare-and-set only, so it is never read half old and half new (T-67).
//
// The package holds values and pure functions. Where the value lies is the business of package lease.
package record

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// Format is the version that this code writes. A member never leads by a record with a higher one (SAFETY D45).
const Format = 1

// Record is the whole fact.
type Record struct {
	Format int `json:"format"`
	// Holder is the incarnation that wrote this record, and the only one that may write to the database.
	Holder grant.Incarnation `json:"holder"`
	// Released says that the holder gave the right back after its server was proven stopped; LSN is then the final position.
	Released bool `json:"released,omitempty"`
	// Vacated is this very version when the holder gave the right up although its server had no clean end, after it was proven stopped: members
	// vote at once. It counts only together with the version it names, so a release that does not know it and goes on writing ends it.
	Vacated epoch.Version `json:"vacated,omitzero"`
	// Duration is what others wait, from when they saw this version, before they may take over. FenceAfter is when the holder's own
	// grant ends, from before it sent this version.
	Duration   Duration `json:"duration"`
	FenceAfter Duration `json:"fenceAfter"`
	// Beat grows with each write. The store may treat a write of the same bytes as none, and then nothing would show that the holder lives.
	Beat uint64 `json:"beat"`

	Epoch epoch.Epoch `json:"epoch"`
	// Reign is the epoch's random name. Two reigns can have one number after the store was set back; they never have one name.
	Reign string `json:"reign,omitempty"`
	// Timeline was reserved by the write that began Epoch (SAFETY rule 14).
	Timeline uint32 `json:"timeline"`
	// Opened is the newest timeline on which a leader is known to have opened, and Lines how that one came about. A leader that has just
	// taken the record is not there yet.
	Opened uint32          `json:"opened,omitempty"`
	Lines  []timeline.Line `json:"lines,omitempty"`
	// LSN is how far the leader's WAL was on disk before it last renewed, or with Released, its end.
	LSN lsn.LSN `json:"lsn"`
	// Heir is the member that a released record is meant for; others leave it some time. Empty: nobody.
	Heir     string `json:"heir,omitempty"`
	SystemID string `json:"systemID,omitempty"`
	// Bootstrap is the claim to create the database; gone once that is done (SAFETY rule 19).
	Bootstrap *Bootstrap `json:"bootstrap,omitempty"`
	// Members are all who may ever lead. Only the holder changes the list.
	Members []Member `json:"members,omitempty"`
	// Away are members that were taken out of Members because their keepers were not heard. They never lead, and nobody waits for them; whoever
	// leads keeps a slot for each, and lists it again when it is heard.
	Away []Member `json:"away,omitempty"`
	// Sync is the promise of synchronous mode; nil: none is made, and elections go by what may be lost.
	Sync *Sync `json:"sync,omitempty"`
	// Intents are the last things that people asked of the leader, the newest last; at most one of them is open.
	Intents []Intent `json:"intents,omitempty"`
	// Pause suspends elections and switchovers until its time is over.
	Pause *Pause `json:"pause,omitempty"`
	// Fenced are members that a person keeps stopped.
	Fenced []Fenced `json:"fenced,omitempty"`
	// GivenUp is, for each leader that has lately given the right up by its own wish, how long that still counts (SAFETY D36). Like a pause's end
	// it is counted down by whoever writes.
	GivenUp []Duration `json:"givenUp,omitempty"`
	// Rollout is the last one that was asked for.
	Rollout *Rollout `json:"rollout,omitempty"`
	// Transition is how the present holder, or in a released record the next one, came to lead.
	Transition *Transition `json:"transition,omitempty"`

	unknown extras
}

// Bootstrap is one member's claim to create the database. Only that member may resume it.
type Bootstrap struct {
	Member string `json:"member"`
	// Statements counts the first statements (settings postgresql.initSQL) that have been run.
	Statements int `json:"statements,omitempty"`

	unknown extras
}

// Member is one listed member. The id decides; the names are for people and certificates.
type Member struct {
	ID      string `json:"id"`
	Pod     string `json:"pod"`
	Host    string `json:"host"`
	Address string `json:"address,omitempty"`
	Port    int    `json:"port"`

	unknown extras
}

// Sync means: every acknowledged commit is on the leader and on at least K of Members (SAFETY rule 11). With K 0 only the leader is known to
// have all of them, so nobody can follow it unless it is heard.
type Sync struct {
	K       int      `json:"k"`
	Members []string `json:"members"`
	// Mode and Number are what the settings of the leader that wrote it asked for. A new leader's own may not have reached its pod yet.
	Mode   string `json:"mode,omitempty"`
	Number int    `json:"number,omitempty"`

	unknown extras
}

// Duration is a time.Duration that is written as people write it.
type Duration time.Duration

// String gives Go's form ("8s").
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the text form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text form.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("parse duration: %w", err)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("parse duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// Parse reads a record. A record that lacks what every decision needs is an error: a broken store, not a free lease (SAFETY rule 4).
// A record of a higher format is returned as far as it was understood; MayLead says that nobody of this release leads by it.
func Parse(text string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, fmt.Errorf("parse record: %w", err)
	}
	switch {
	case r.Format < 1:
		return Record{}, fmt.Errorf("parse record: no format number")
	case r.Holder.Member == "" || r.Holder.Pod == "":
		return Record{}, fmt.Errorf("parse record: no holder")
	case r.Duration <= 0:
		return Record{}, fmt.Errorf("parse record: no duration")
	case r.Epoch.IsZero() || r.Timeline == 0:
		return Record{}, fmt.Errorf("parse record: no epoch or no timeline")
	}
	return r, nil
}

// Text is the form that is stored. Fields that this release does not know are kept.
func (r Record) Text() (string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("write record: %w", err)
	}
	return string(b), nil
}

// MayLead reports whether this release understands the record well enough to lead by it.
func (r Record) MayLead() bool { return r.Format <= Format }

// Version orders the states of the record.
func (r Record) Version() epoch.Version { return epoch.Version{Epoch: r.Epoch, Beat: r.Beat} }

// Free reports whether the holder gave the right back, or up, after its server was proven stopped.
func (r Record) Free() bool {
	return r.Released || !r.Vacated.IsZero() && r.Vacated == r.Version()
}

// HeldBy reports whether this very incarnation wrote the record and has not given it back. The member's name or its volume alone is not enough: two
// pods can have one name, and an earlier life of the same volume may still be running (SAFETY D2).
func (r Record) HeldBy(me grant.Incarnation) bool { return !r.Free() && r.Holder == me }

// Listed reports whether a member may ever lead by this record.
func (r Record) Listed(id string) bool {
	_, ok := r.Find(id)
	return ok
}

// Find returns a listed member.
func (r Record) Find(id string) (Member, bool) {
	i := slices.IndexFunc(r.Members, func(m Member) bool { return m.ID == id })
	if i < 0 {
		return Member{}, false
	}
	return r.Members[i], true
}

// Known are all members: the listed ones and those that are away.
func (r Record) Known() []Member {
	out := slices.Clone(r.Members)
	for _, m := range r.Away {
		if !r.Listed(m.ID) {
			out = append(out, m)
		}
	}
	return out
}

// Promised reports whether a member is one of those by whom acknowledged commits are counted. With fewer of them listed an election could
// not hear enough.
func (r Record) Promised(id string) bool {
	return r.Sync != nil && slices.Contains(r.Sync.Members, id)
}

// Leader returns the holder as a listed member; false when the list does not name it.
func (r Record) Leader() (Member, bool) { return r.Find(r.Holder.Member) }

// Clone returns a copy that shares nothing that is ever changed.
func (r Record) Clone() Record {
	r.Members, r.Lines = slices.Clone(r.Members), slices.Clone(r.Lines)
	r.Away = slices.Clone(r.Away)
	r.Intents, r.Fenced, r.GivenUp = slices.Clone(r.Intents), slices.Clone(r.Fenced), slices.Clone(r.GivenUp)
	r.Rollout, r.Transition = r.Rollout.clone(), r.Transition.Clone()
	if r.Pause != nil {
		p := *r.Pause
		r.Pause = &p
	}
	if r.Bootstrap != nil {
		b := *r.Bootstrap
		r.Bootstrap = &b
	}
	if r.Sync != nil {
		s := *r.Sync
		s.Members = slices.Clone(s.Members)
		r.Sync = &s
	}
	return r
}
