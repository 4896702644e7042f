// Package secondline judges what is asked of the servers themselves, whatever leases, grants and records say: does the Service for writing take
// a write, and does more than one member write? What it finds is told to people. It never moves anything: who stops a server that writes
// without a right is its own keeper and guard, each for itself (SAFETY rule 24).
package secondline

import (
	"fmt"
	"slices"
	"strings"
)

// Answer is what one server said.
type Answer struct {
	Pod string
	// Writable: it said that it is not in recovery. SystemID is its database.
	Writable bool
	SystemID string
	// Err: it could not be found out.
	Err error
}

// Write is what became of a write through the Service for writing.
type Write struct {
	// Tried is false when writes are not probed.
	Tried bool
	// Server is the address of the server that took it.
	Server string
	Err    error
	// Failed is how many in a row failed before.
	Failed int
}

// Facts are those of one round.
type Facts struct {
	Pod string
	// Led: this member's right was in force, in one epoch, before the first question and after the last answer, and its server wrote at both
	// moments. Otherwise a change of leaders may lie in between, and nothing follows.
	Led bool
	// SystemID is this member's database, Addresses are its pod's.
	SystemID  string
	Addresses []string
	Others    []Answer
	Write     Write
}

// Verdict is what people are to be told. Empty sentences: nothing.
type Verdict struct {
	// Known: the round says something at all.
	Known bool
	// Writers are the other members that write. Unheard are those that gave no answer.
	Writers, Unheard []string
	// TwoWriters says who writes besides the leader.
	TwoWriters string
	// WriteFailed says why the Service takes no write.
	WriteFailed string
}

// Judge looks at one round. One failed write may be a moment of a client; the second in a row is told.
func Judge(f Facts) Verdict {
	if !f.Led {
		return Verdict{}
	}
	v := Verdict{Known: true}
	for _, a := range f.Others {
		switch {
		case a.Err != nil:
			v.Unheard = append(v.Unheard, a.Pod)
		case a.Writable && (a.SystemID == f.SystemID || a.SystemID == "" || f.SystemID == ""):
			v.Writers = append(v.Writers, a.Pod)
		case a.Writable:
			v.TwoWriters = fmt.Sprintf("%s writes to another database (%s, this one is %s)", a.Pod, a.SystemID, f.SystemID)
		}
	}
	if len(v.Writers) > 0 {
		v.TwoWriters = fmt.Sprintf("%s leads and writes, and so does %s", f.Pod, strings.Join(v.Writers, ", "))
	}
	w := f.Write
	switch {
	case !w.Tried:
	case w.Err != nil && w.Failed > 0:
		v.WriteFailed = fmt.Sprintf("the Service for writing takes no writes: %v", w.Err)
	case w.Err != nil:
	case !slices.Contains(f.Addresses, w.Server) && v.TwoWriters == "":
		v.TwoWriters = fmt.Sprintf("%s leads and writes, and the Service for writing led to %s, which took a write", f.Pod, w.Server)
	}
	return v
}
