package judge

import (
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// down reports whether, as far as is known, no server of this pod runs. Whoever releases proves it by the volume's lock (rule 6).
func (f Facts) down() bool {
	s := f.Local.State
	return s == nil || f.Local.Stale || s.Server == grant.Down
}

// ending: keeper was told to end, and kubelet ends it last (T-72): the server is down. From here on none may start: the grant to stop is
// written first, then the lock is taken, then the final position is read, and only then the record is released (rule 7). Whoever does that
// leaves a record to run out whose server did not shut down cleanly.
func ending(f Facts) Verdict {
	reason := "the pod ends"
	out := Verdict{Grant: grant.Grant{Role: grant.Stop, Reason: reason}, Reason: reason, End: true}
	if f.Store.Mine {
		r := f.Store.Record
		out.Grant.Epoch, out.Grant.Reign, out.Grant.Timeline, out.Grant.SystemID = r.Epoch, r.Reign, r.Timeline, r.SystemID
		out.Do, out.Record = Release, released(f)
	}
	return out
}

// handOver: the leader stops in favour of another. The right is given back only when guard has confirmed the stop and no server is
// left; who releases proves that by the volume's lock and reads the final position then (rule 7).
func handOver(f Facts) Verdict {
	r, reason := f.Store.Record, f.Handover.Reason
	out := Verdict{Reason: reason, Grant: grant.Grant{
		Role: grant.Stop, Reason: reason, Epoch: r.Epoch, Reign: r.Reign, Timeline: r.Timeline, SystemID: r.SystemID,
	}}
	out.Fence = f.Handover.Kill
	if p := f.Local.Previous; p != nil && p.Role == grant.Stop && f.Local.State.Seq >= p.Seq && !f.Local.Stale && (f.Local.State.Server == grant.Down || f.killedAll()) {
		out.Do, out.Record = Release, released(f)
	} else if f.Handover.Unclean && f.Handover.For >= unconfirmedFor {
		out.Person = true
		out.Reason += fmt.Sprintf("; guard has not confirmed for %s that the server is stopped, and until then nobody else may lead: if the volume hangs, restart this pod's node or take it from the network",
			f.Handover.For.Truncate(time.Second))
	}
	return out
}

// unconfirmedFor is how long the stop of a server that is not well may take before a person is told: three times what it may take to kill it.
const unconfirmedFor = 30 * time.Second

// killedAll: guard has sent SIGKILL to every process of a server that does not go, because its volume hangs: they will not run again, though the
// volume's lock is held (SAFETY D11).
func (f Facts) killedAll() bool {
	return f.Handover != nil && f.Handover.Kill && f.Local.State.KilledAll
}

// released is the record as it is given back; the final position is filled in by whoever reads it.
func released(f Facts) record.Record {
	r := f.Store.Record.Clone()
	if f.Handover != nil {
		r.Heir = f.Handover.Heir
	}
	return r
}
