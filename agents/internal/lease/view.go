package lease

import (
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Known is what this process knows of the store's record.
type Known int

const (
	// Unreachable: the store has not answered since this process started.
	Unreachable Known = iota
	// Absent: the store answered that there is no record.
	Absent
	// Present: Record is what the store last answered.
	Present
	// Broken: there is something in the record's place that cannot be understood.
	Broken
)

// String names the state for logs.
func (k Known) String() string {
	switch k {
	case Absent:
		return "absent"
	case Present:
		return "present"
	case Broken:
		return "broken"
	default:
		return "unreachable"
	}
}

// View is what the loop knows. It is a value: nobody changes it once it is published.
type View struct {
	Known   Known
	Record  record.Record
	Version string
	// Since is when this process first received Version; observers count the recorded duration from here.
	Since boottime.Instant
	// Mine: this incarnation wrote Record and nobody is known to have replaced it. Only Deadline says whether it may still act on it.
	Mine bool
	// Deadline is when this incarnation's right to write ends, unless it is renewed. Zero: it has none.
	Deadline boottime.Instant
	// Recalled is the record by which an earlier process of this incarnation was in force, as long as the store has not answered this one. It is
	// good for asking the others to hold still, and for nothing that is written.
	Recalled *record.Record
	// Failsafe: Deadline rests on the promises of the other members and not on a renewal.
	Failsafe bool
	// Answered is when the store last answered anything definite; zero: never.
	Answered boottime.Instant
	// Seen: this process has seen a record at some time, so an absent one was removed.
	Seen bool
	// AbsentSince is when the store first answered that there is no record, in an unbroken row of such answers; zero: its last answer was
	// another one, or none came.
	AbsentSince boottime.Instant
	// AbsentWait is how long the record must be absent before it is created in the place of one that was removed: by then a holder that
	// is in force has written it again, or its right has ended.
	AbsentWait time.Duration
	// Problem is why the last request failed; empty if it did not.
	Problem string
	// Trouble is why this incarnation, which holds the record, could not write it when it last tried; empty: its last write was confirmed. What
	// can be read says nothing about that.
	Trouble string
	// Failures counts renewals that were not confirmed.
	Failures uint64
	// Renewals counts those that were.
	Renewals uint64
}

// InForce reports whether this incarnation may write at now.
func (v View) InForce(now boottime.Instant) bool { return v.Mine && now.Before(v.Deadline) }

// Recalls reports whether this incarnation may go on at now by what an earlier process of it knew: the store has not answered since.
func (v View) Recalls(now boottime.Instant) bool {
	return v.Known == Unreachable && v.Recalled != nil && now.Before(v.Deadline)
}

// Confirmed reports whether the store has confirmed a write of this very process. Before that, a write of the process before it may still land:
// the record that was read is then not the one that others go by, and nothing that rests on who is listed or counted in it may be decided.
func (v View) Confirmed() bool { return v.Renewals > 0 }

// Unchanged is how long this process has known the present version. It need not have read it again in between: the take-over is
// a compare-and-set on that version, which fails if it changed.
func (v View) Unchanged(now boottime.Instant) time.Duration {
	if v.Known != Present {
		return 0
	}
	return now.Sub(v.Since)
}

// Vacant returns how long the record must still be absent before it may be created in the place of a removed one; zero: it may be.
func (v View) Vacant(now boottime.Instant) time.Duration {
	switch {
	case v.Known != Absent || v.AbsentSince == 0:
		return v.AbsentWait
	default:
		return max(0, v.AbsentWait-now.Sub(v.AbsentSince))
	}
}

// FreeFor is how long the record has been free at now: released, or expired. Zero: it is not.
func (v View) FreeFor(now boottime.Instant) time.Duration {
	switch {
	case v.Known != Present:
		return 0
	case v.Record.Free():
		return v.Unchanged(now)
	default:
		return max(0, v.Unchanged(now)-time.Duration(v.Record.Duration))
	}
}

// Expired reports whether another member may take the record over at now, by an election: its time is over, or its holder has given it up.
func (v View) Expired(now boottime.Instant) bool {
	return v.Known == Present && (v.Record.Free() && !v.Record.Released || v.Unchanged(now) >= time.Duration(v.Record.Duration))
}
