package judge

import (
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// unledFor is how long nobody must have led before a member that may not says so: a leader that comes back, and every election, is quicker.
const unledFor = time.Minute

// unlisted: the record does not list this member. It has no slot, may be a copy (D26), or may lack what was written while it was away, so it never
// leads by itself. Where nobody is left who may, it serves reads (D43), and a person is told.
func unlisted(f Facts, leader record.Member) Verdict {
	r := f.Store.Record
	v, looked := f.volume()
	why := fmt.Sprintf("%s leads and has not listed this member", leader.Pod)
	data := looked && !v.Empty && !f.copied(v) && v.SystemID == r.SystemID
	unled := f.Store.FreeFor >= unledFor
	out := wait(why + " yet")
	if data && (unled || f.Store.Silent >= patience && !f.unconfirmed(v)) {
		out = replica(f, nil, why+"; reads only")
	}
	switch {
	case f.volumeGone(r.Holder.Member):
		out.Person, out.Reason = true, why+"; "+goneSentence(f)
	case data && unled && f.Store.Silent < patience:
		out.Person = true
		out.Reason = fmt.Sprintf("nobody leads: %s, which did, had not listed this member, and one that is not listed never leads by itself, because it may lack "+
			"what was written while it was away. It serves reads, and holds the database up to %s. Bring %s back, or, if its data is lost, delete the lease %s: "+
			"what to set bootstrap.adopt to is told then", leader.Pod, f.upTo(v), leader.Pod, f.Lease)
	}
	return out
}

// upTo tells a person how far this member's data goes, as far as that is known.
func (f Facts) upTo(v grant.Volume) string {
	if f.Local.Replayed != nil && f.Local.Standing.Timeline != 0 {
		return fmt.Sprintf("%s on timeline %d", *f.Local.Replayed, f.Local.Standing.Timeline)
	}
	return fmt.Sprintf("%s on timeline %d at least", v.Checkpoint, v.Timeline)
}
