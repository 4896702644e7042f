// Package grant is the meeting place of keeper and guard: two small files in a memory volume. keeper writes the grant: what this
// member is to be, and until when. seed and guard write the state: what they found and what they are doing. Both files are replaced
// atomically, carry a format number, and can be read by a person.
//
// The rules they carry are SAFETY rules 2, 5, 6, 7 and 15: a primary's grant ends by itself; a replica's never does; stopped means
// that the volume's lock is free.
package grant

import (
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// Format is the version of both files that this code writes. A reader leads by no file with a higher one (SAFETY D45).
const Format = 1

// Role is what a grant allows a member to be.
type Role string

const (
	// Wait: do nothing yet; Reason says what is awaited. A running server stays what it is, as long as that was a replica.
	Wait Role = "wait"
	// Primary: run writable until Deadline, in Epoch, on Timeline.
	Primary Role = "primary"
	// Replica: run as a standby of Upstream; without one, as a standby that streams from nobody. Never ends.
	Replica Role = "replica"
	// Stop: shut the server down and keep it down, proven by the volume's lock.
	Stop Role = "stop"
)

// Incarnation is one life of a member. The member is its volume (PVC UID); names decide nothing (SAFETY rule 1).
type Incarnation struct {
	Member string `json:"member"` // UID of the PersistentVolumeClaim
	Pod    string `json:"pod"`    // UID of the pod
	Boot   string `json:"boot"`   // boot id of the node
}

// String gives "member/pod/boot", the form of the Lease's holderIdentity.
func (i Incarnation) String() string { return i.Member + "/" + i.Pod + "/" + i.Boot }

// Upstream is the one server a standby streams from: the recorded leader, never a list (SAFETY rule 13).
type Upstream struct {
	Member  string `json:"member"`            // PVC UID of the leader
	Name    string `json:"name"`              // pod name, for people
	Host    string `json:"host"`              // name that the certificate is checked against
	Address string `json:"address,omitempty"` // IP connected to; empty means: look Host up
	Port    int    `json:"port"`
}

// Grant is what keeper allows its own server to be. Only keeper writes it; guard obeys the highest Seq it has seen of its own pod.
type Grant struct {
	Format int         `json:"format"`
	Seq    uint64      `json:"seq"`
	Holder Incarnation `json:"holder"` // who this grant is for; another pod's or another boot's grant is void
	Role   Role        `json:"role"`
	Reason string      `json:"reason"`

	// Deadline ends a primary's grant, on the node's CLOCK_BOOTTIME. With Stop it may be set, and renewed by being rewritten, to give a
	// primary's shutdown until then; without one, the deadline of the grant before still runs. Zero for every other role.
	Deadline boottime.Instant `json:"deadline,omitempty"`
	// Epoch and Timeline are the record's. A primary writes on Timeline only; it was reserved by the same compare-and-set.
	Epoch    epoch.Epoch `json:"epoch"`
	Timeline uint32      `json:"timeline,omitempty"`
	// Reign is the epoch's random name. Two reigns can have one number after the store was set back; they never have one name.
	Reign string `json:"reign,omitempty"`
	// Version is the record's state that this grant rests on. A volume that has voted on this one or a later one does not stream by it.
	Version epoch.Version `json:"version,omitzero"`
	// Vote asks a replica to take part in an election: to cut the stream, note Version on the volume, and only then to say where it is
	// (SAFETY rule 8).
	Vote bool `json:"vote,omitempty"`
	// Lines tell how Timeline came about, so that a member can tell whether it has diverged. None: not known yet, or timeline 1.
	Lines []timeline.Line `json:"lines,omitempty"`
	// SystemID is the database's identity in the record; empty while the first primary has not reported it.
	SystemID string `json:"systemID,omitempty"`
	// Bootstrap says that the record holds a claim by this very member to create the database: initdb is allowed (SAFETY rule 19).
	Bootstrap bool `json:"bootstrap,omitempty"`
	// Upstream is whom a replica streams and clones from. Nil: from nobody.
	Upstream *Upstream `json:"upstream,omitempty"`
	// Slot is this member's physical replication slot on Upstream; SyncName its application_name. Clones use neither (SAFETY D7).
	Slot     string `json:"slot,omitempty"`
	SyncName string `json:"syncName,omitempty"`
	// Sync says whom commits wait for while this server leads. Nil: nothing is said; where the settings ask for synchronous mode, nobody can
	// acknowledge then.
	Sync *Sync `json:"sync,omitempty"`
	// MayClone allows an empty volume to be filled by a base backup from Upstream.
	MayClone bool `json:"mayClone,omitempty"`
	// MayRewind allows a member that has diverged to be brought back by pg_rewind, giving up at most MaxDiscard bytes of WAL past the
	// fork (SAFETY rule 21).
	MayRewind  bool  `json:"mayRewind,omitempty"`
	MaxDiscard int64 `json:"maxDiscard,omitempty"`
	// Unfenced is the name of the fence that a person has lifted while nobody led: keeper's own note, for its next process.
	Unfenced string `json:"unfenced,omitempty"`
	// Fenced says that Stop is a person's word: it is noted on the volume, and holds until a grant to run.
	Fenced bool `json:"fenced,omitempty"`
}

// Validate reports a grant that no keeper of ours writes, so that guard never acts on a half-understood one.
func (g Grant) Validate() error {
	switch {
	case g.Format > Format:
		return fmt.Errorf("grant has format %d, this agent understands up to %d: the agents image of the server container is older than keeper's", g.Format, Format)
	case g.Format < 1:
		return fmt.Errorf("grant has no format number")
	case g.Role != Wait && g.Role != Primary && g.Role != Replica && g.Role != Stop:
		return fmt.Errorf("grant has the unknown role %q", g.Role)
	case g.Role == Primary && g.Deadline <= 0:
		return fmt.Errorf("grant to be primary has no deadline")
	case g.Role == Primary && (g.Epoch.IsZero() || g.Timeline == 0):
		return fmt.Errorf("grant to be primary has no epoch or no timeline")
	case g.Vote && (g.Role != Replica || g.Upstream != nil || g.Version.IsZero()):
		return fmt.Errorf("grant to vote is not a replica's without an upstream, or names no version of the record")
	case g.Role != Primary && g.Role != Stop && g.Deadline != 0:
		return fmt.Errorf("grant to be %s has a deadline: only a primary's grant ends", g.Role)
	}
	return nil
}

// Bound returns g as a volume that has voted on vote may obey it: without an upstream, unless the record was written again since
// (SAFETY rule 8).
func (g Grant) Bound(vote epoch.Version) Grant {
	if !vote.IsZero() && !g.Version.Newer(vote) {
		g.Upstream = nil
	}
	return g
}

// Valid reports whether g is for this incarnation's pod and boot and, for a primary, has not run out at now.
func (g Grant) Valid(me Incarnation, now boottime.Instant) bool {
	if g.Holder.Pod != me.Pod || g.Holder.Boot != me.Boot {
		return false
	}
	return g.Role != Primary || now.Before(g.Deadline)
}
