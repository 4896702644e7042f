// Package observed is what keeper knows now, as one value: metrics, health checks and the publisher all read the same one, so that they
// never contradict each other.
package observed

import (
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

// Role as others see it.
type Role string

const (
	Unknown Role = ""
	Primary Role = "primary"
	Replica Role = "replica"
)

// Snapshot is everything known at one moment. Pointers and slices are nil when unknown.
type Snapshot struct {
	At time.Time
	// Granted: this incarnation holds the record and its right to write has not run out.
	Granted  bool
	Leader   bool // holds the record
	Epoch    epoch.Epoch
	Timeline uint32
	// Reason is the last verdict's sentence; Person says that one is needed.
	Reason string
	Person bool

	// Server is nil when the server does not answer.
	Server  *pg.Status
	Senders []pg.Sender
	Slots   []pg.Slot
	Figures *pg.Figures
	Lag     Lag

	// Refused is what the upstream's server says instead of sending WAL to this replica, which has received none for long; empty: nothing known.
	Refused string

	// Rollout is how the last rollout stands ("open", "done", "stopped"), by the leader's word; empty: there was none, or this is not the leader.
	Rollout string
	// Transition is how many seconds each stage of this member's last way to the lead took, by the stage's name.
	Transition map[string]float64

	// Sync is the leader's synchronous set; nil: this member keeps none.
	Sync *Sync

	// SecondLine is what the leader found when it last asked the servers themselves; nil: nothing.
	SecondLine *SecondLine

	Phase       string // guard's
	KilledAll   bool
	StopSeconds float64
	RenewAge    *float64 // seconds since the store last answered
	// Failsafe: the right to write rests on the promises of the other members, because the store cannot be written.
	Failsafe     bool
	Renewals     uint64
	Failures     uint64
	VolumeFree   *uint64
	VolumeSize   *uint64
	WALPerSecond *float64
	// Certificates are the days left, by file name.
	Certificates map[string]float64
	// Loops counts panics and errors, and times the last turn, by name.
	Loops map[string]Loop
}

// Sync is whom commits wait for.
type Sync struct {
	Mode string
	// K of Size members are waited for. Met: that many are there to be named; otherwise nothing is acknowledged.
	K, Size int
	Met     bool
	// InForce: the server goes by it in all its processes. Recorded: the record promises the same.
	InForce, Recorded bool
	Reason            string
}

// SecondLine is what the servers said to the leader, whatever leases say.
type SecondLine struct {
	// Writers counts the members that write, the leader among them; Unheard are those that gave no answer.
	Writers, Unheard int
	// TwoWriters and WriteFailed are alarms, empty when there is none.
	TwoWriters, WriteFailed string
	// Failed counts the writes in a row that failed; WriteSeconds is how long the last one took, nil if it failed or was not tried.
	Failed       int
	WriteSeconds *float64
}

// Alarms are the sentences that must not be missed.
func (s *SecondLine) Alarms() []string {
	var out []string
	if s == nil {
		return nil
	}
	for _, text := range []string{s.TwoWriters, s.WriteFailed} {
		if text != "" {
			out = append(out, text)
		}
	}
	return out
}

// Loop is one of keeper's own loops.
type Loop struct {
	Seconds          float64
	Failures, Panics uint64
}

// Role is what the server is, by its own word and by the right to be it.
func (s Snapshot) Role() Role {
	switch {
	case s.Server == nil:
		return Unknown
	case s.Server.InRecovery:
		return Replica
	case s.Granted:
		return Primary
	default:
		return Unknown // writable without a right: nothing that anybody should be sent to
	}
}

// Lag is how far a standby is behind. Unknown is not zero.
type Lag struct {
	LinkUp  bool
	Bytes   *int64
	Seconds *float64
}

// Lag of a standby. leader is the leader's position as recorded, nil if that is not known to be fresh. Either the upstream or the record must
// tell where the end is; the standby's own word, that it has replayed all it received, says nothing when the link is dead.
func LagOf(s pg.Status, leader *lsn.LSN) Lag {
	if !s.InRecovery {
		return Lag{}
	}
	l := Lag{LinkUp: s.Receiver.Streaming()}
	var end *lsn.LSN
	if l.LinkUp {
		end = s.Receiver.End
	}
	if leader != nil && (end == nil || *leader > *end) {
		end = leader
	}
	if end == nil || s.Replayed == nil {
		return l
	}
	bytes := max(end.Sub(*s.Replayed), 0)
	l.Bytes = &bytes
	switch {
	case !l.LinkUp:
		// With no link the age of the last transaction may be a quiet primary or a dead one.
	case bytes == 0:
		l.Seconds = new(float64)
	case s.ReplayAge != nil:
		age := max(*s.ReplayAge, 0)
		l.Seconds = &age
	}
	return l
}
