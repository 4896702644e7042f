package judge

import (
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// PauseLeft is how long elections and switchovers are still suspended: what the record says, less the time since this version was first seen.
// Nobody's wall time is compared with anybody's.
func PauseLeft(r record.Record, unchanged time.Duration, lifted string) time.Duration {
	if r.Pause == nil || r.Pause.ID == lifted {
		return 0
	}
	return max(0, time.Duration(r.Pause.Left)-unchanged)
}

// paused: no member but the recorded holder's own may take the record. The leases, grants and fences of a pause are those of every day.
func (f Facts) paused() bool { return PauseLeft(f.Store.Record, f.Store.Unchanged, f.Store.Lifted) > 0 }

func pausedSentence(f Facts) string {
	p := f.Store.Record.Pause
	return fmt.Sprintf("elections are paused%s: only %s may lead until the pause is over, or lifted by \"role resume\"",
		because(p.Reason), names(f.Store.Record, []string{f.Store.Record.Holder.Member}))
}

// because appends a person's reason to a sentence.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// stayStopped says why a person's word keeps this member's server down; empty: none does. The record decides; the note on the volume does as
// long as there is no record to ask. A leader is never stopped by it: it hands over first, and is listed here only then. A server that
// writes without a right is another row's business, which is faster.
func (f Facts) stayStopped() string {
	s := f.Local.State
	if f.Store.Mine || f.Store.InForce || f.Local.PreviousInForce || s != nil && (s.Server == grant.Writable || s.Server == grant.Promoting) {
		return ""
	}
	if f.Store.Known == Present {
		word, fenced := f.Store.Record.FencedMember(f.Me.Member)
		if !fenced || f.Me.Member == "" || word.Name() == f.Store.Unfenced {
			return ""
		}
		return f.liftedBy(word.Reason)
	}
	if v, looked := f.volume(); !looked || !v.Fenced {
		return ""
	}
	if a, err := adoptionOf(f.Adopt); f.Store.Known != Unreachable && err == nil && a.pod == f.Pod {
		return "" // a person's later word: this member is to lead
	}
	return f.liftedBy("")
}

func (f Facts) liftedBy(reason string) string {
	return fmt.Sprintf("fenced by hand%s: \"role unfence %s\" lifts it", because(reason), f.Pod)
}

// stayStopped is the order to stop, and to note that on the volume.
func stayStopped(f Facts) Verdict {
	why := f.stayStopped()
	g := grant.Grant{Role: grant.Stop, Reason: why, Fenced: true}
	if f.Store.Known == Present {
		r := f.Store.Record
		g.Epoch, g.Reign, g.Timeline, g.SystemID = r.Epoch, r.Reign, r.Timeline, r.SystemID
	}
	return Verdict{Grant: g, Reason: why}
}

func fencedMember(r record.Record, id string) bool {
	_, fenced := r.FencedMember(id)
	return fenced
}
