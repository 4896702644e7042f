package judge

import (
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// holder: the record names this member, in this or an earlier life.
func holder(f Facts) Verdict {
	r := f.Store.Record
	if !r.MayLead() { // D45
		return person(fmt.Sprintf("the record has format %d and this release understands up to %d: it does not lead; use the newer release", r.Format, record.Format))
	}
	v, looked := f.volume()
	if !looked {
		return keepOr(f, wait("the volume has not been inspected yet"))
	}
	if f.copied(v) {
		return keepOr(f, person(fmt.Sprintf("the volume is a copy of member %s's: it cannot take that member's place; "+
			"give this pod the volume that was made for its claim, and keep this one until its original is known to be whole", v.Noted)))
	}
	if why := f.foreign(v); why != "" {
		return keepOr(f, person(why))
	}
	if v.Empty && r.Bootstrap == nil {
		return keepOr(f, emptyHolder(f))
	}
	if v.Empty && r.Bootstrap.Member != f.Me.Member { // rule 19: only the claim's own member resumes it
		return keepOr(f, person(fmt.Sprintf("member %s has claimed to create the database, and this volume is another: delete the lease %s to begin anew", r.Bootstrap.Member, f.Lease)))
	}
	if f.Store.Mine {
		return reigning(f, v)
	}
	return returning(f, v)
}

func emptyHolder(f Facts) Verdict {
	if len(f.Others.WithData) == 0 && len(f.Others.Empty) >= len(f.Others.Volumes) && f.Others.Known {
		return person(lostSentence(f))
	}
	return person(fmt.Sprintf("the record in lease %s names this member as the leader and its volume is empty: restore the volume; or delete the lease and "+
		"set bootstrap.adopt to a pod that has the data", f.Lease))
}

// reigning: this very incarnation holds the record. It goes on in its epoch as long as that epoch's timeline can be served from
// this directory; no time that passed takes the record away, only another holder does.
func reigning(f Facts, v grant.Volume) Verdict {
	r := f.Store.Record
	if f.Care.ReadOnly && f.Store.InForce && f.Handover == nil && f.Local.State.Server != grant.Promoting {
		return readOnly(f)
	}
	if v.WasPrimary == r.Epoch && f.Local.State.Server == grant.Standby {
		// The directory was primary in this epoch and its server runs as a standby (after an outage of the API, or a promotion that
		// a crash interrupted): opening it again would be a second promotion in one epoch (rules 14, 15).
		if f.Local.StandbyFor < settled {
			return keep("the server is about to be promoted, or goes on as a standby after it was primary in this epoch")
		}
		if f.Store.Silent < patience {
			return takeOver(f, v, "the server went on as a standby after it was primary in this epoch")
		}
	}
	reason := fmt.Sprintf("holds the record of epoch %s", r.Epoch)
	g := grant.Grant{
		Role: grant.Primary, Reason: reason, Epoch: r.Epoch, Reign: r.Reign, Timeline: r.Timeline, SystemID: r.SystemID,
		Sync:      f.waits(),
		Bootstrap: r.Bootstrap != nil && r.Bootstrap.Member == f.Me.Member && r.SystemID == "",
	}
	if f.Handover != nil && f.Store.InForce {
		return handOver(f)
	}
	if !f.Store.InForce {
		// Not renewed in time. The grant in the file has ended by itself. The server may go on for readers.
		if v.Empty {
			return wait("the record could not be renewed: " + f.Store.Problem)
		}
		if f.Local.State.Server == grant.Writable || f.Local.State.Server == grant.Promoting {
			return keep("the record could not be renewed and guard ends the server: " + f.Store.Problem)
		}
		if f.Store.Silent < patience {
			// A short outage: restarting in place, in the same epoch, is quicker than coming back as a standby.
			return keep("the record could not be renewed: " + f.Store.Problem)
		}
		if f.unconfirmed(v) {
			return wait("the record could not be renewed: " + f.Store.Problem + unconfirmedSentence)
		}
		return replica(f, nil, "the record could not be renewed; reads only: "+f.Store.Problem)
	}
	if f.Care.Reason != "" {
		reason += ": " + f.Care.Reason
	}
	return Verdict{Grant: g, Reason: reason, Person: f.Care.Person}
}

// readOnly: this member leads and cannot write. Its server is shut down under the lease and comes back as a standby, for readers; when it can
// write again, it is promoted in a new epoch, as after an outage of the API.
func readOnly(f Facts) Verdict {
	r, reason := f.Store.Record, f.Care.Reason
	if s := f.Local.State.Server; s == grant.Writable {
		return Verdict{Reason: reason, Person: f.Care.Person, Grant: grant.Grant{
			Role: grant.Stop, Reason: reason, Epoch: r.Epoch, Reign: r.Reign, Timeline: r.Timeline, SystemID: r.SystemID,
		}}
	}
	out := replica(f, nil, reason)
	out.Person = f.Care.Person
	return out
}

// returning: an earlier life of this member holds the record, or this one has given it back. It is a candidate like any other (D2), except
// that nobody else can resume its claim to create the database.
func returning(f Facts, v grant.Volume) Verdict {
	r := f.Store.Record
	switch {
	case r.SystemID != "" && v.Empty: // the database was made, and this volume has lost it
		return emptyHolder(f)
	case r.SystemID != "":
		return freeOr(f, v, func() Verdict {
			return keepRole(f, fmt.Sprintf("the lease of this member's earlier life (pod %s) must run out first", r.Holder.Pod))
		})
	case f.Local.Stale:
		return wait("the reporter of this volume's state is not heard")
	case f.Local.State.Phase == grant.Locking:
		return wait("the volume is locked: " + f.Local.State.Reason) // rule 6
	case f.Store.Expired:
		return takeOver(f, v, "the lease of this member's earlier life ran out")
	default:
		return wait(fmt.Sprintf("the lease of this member's earlier life (pod %s) must run out first", r.Holder.Pod))
	}
}

// freeOr: the record is free for a candidate, or not yet.
func freeOr(f Facts, v grant.Volume, not func() Verdict) Verdict {
	if f.Store.Record.Free() || f.Store.Expired || f.Store.Silent >= patience {
		return candidate(f, v)
	}
	return not()
}

// takeOver begins the next epoch on a newly reserved timeline.
func takeOver(f Facts, v grant.Volume, why string) Verdict {
	r := f.Store.Record
	n := next(f, r, r.Epoch, append(f.lines(r.SystemID), v.Timeline, v.PrimaryLine)...)
	if v.Empty {
		// A claim that is resumed before there was any data: initdb makes timeline 1, of a system id that nobody has seen.
		n.Timeline = 1
	}
	reason := fmt.Sprintf("%s: taking epoch %s on timeline %d", why, n.Epoch, n.Timeline)
	out := keepOr(f, wait(reason))
	if p := f.Local.Previous; p != nil && p.Role == grant.Replica {
		out = keep(reason) // a standby is promoted where it stands
	}
	out.Do, out.Record, out.Reason = Take, n, reason
	return out
}
