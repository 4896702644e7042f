package judge

import "github.com/pgspan/pgspan/agents/internal/grant"

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
		out.Grant.Epoch, out.Grant.Timeline, out.Grant.SystemID = r.Epoch, r.Timeline, r.SystemID
		out.Do, out.Record = Release, r.Clone()
	}
	return out
}
