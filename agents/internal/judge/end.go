package judge

import "github.com/pgspan/pgspan/agents/internal/grant"

// shutDown is what pg_controldata says of a directory whose last server wrote its shutdown checkpoint as a primary.
const shutDown = "shut down"

// down reports whether, as far as is known, no server of this pod runs. Whoever releases proves it by the volume's lock (rule 6).
func (f Facts) down() bool {
	s := f.Local.State
	return s == nil || f.Local.Stale || s.Server == grant.Down
}

// ending: keeper was told to end, and kubelet ends it last (T-72): the server is down. From here on none may start: the grant to stop is
// written first, then the lock is tested, and only then the record is released (rule 7). A server that did not shut down cleanly
// left no final position, so its record is left to run out.
func ending(f Facts) Verdict {
	reason := "the pod ends"
	out := Verdict{Grant: grant.Grant{Role: grant.Stop, Reason: reason}, Reason: reason, End: true}
	if !f.Store.Mine {
		return out
	}
	out.Grant.Epoch, out.Grant.Timeline, out.Grant.SystemID = f.Store.Record.Epoch, f.Store.Record.Timeline, f.Store.Record.SystemID
	v, looked := f.volume()
	final, known := checkpoint(v)
	if !looked || !known || v.ClusterState != shutDown || f.Local.State.Phase != grant.Stopped {
		out.Reason = "the pod ends; its server was not shut down cleanly, so its lease is left to run out"
		return out
	}
	out.Do, out.Record = Release, f.Store.Record.Clone()
	out.Record.LSN = final
	return out
}
