package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// MuteAfter is how long a replica may receive nothing from its leader before a person is told: longer than a restart of the leader's server takes.
const MuteAfter = time.Minute

const (
	// patience is how long the store may be silent before a member without a grant goes on by itself, as a standby (D43).
	patience = 15 * time.Second
	// settled is how long a server must have been a standby before its own epoch is taken for spent: guard notes an epoch on the
	// volume shortly before it promotes.
	settled = 3 * time.Second
)

// Judge decides. The order of the rows is the order of what is certain: first who this is, then the record, then the volume.
func Judge(f Facts) Verdict {
	v := fenced(f, restarting(f, decide(f)))
	v.Version = f.Store.Version
	// What seed or guard refuses, a person or another grant resolves. A moment's patience: the refusal may be of the grant before.
	if s := f.Local.State; s != nil && s.Phase == grant.Refused && f.Local.RefusedFor >= settled && v.Do == Nothing && !v.Person {
		v.Person = true
		v.Reason += "; no server is started here: " + s.Reason
	}
	if !v.Keep {
		v.Grant.Unfenced = f.Store.Unfenced
	}
	return v
}

// fenced turns a verdict that takes the right to write from a writing server into the order to stop at once (rules 5, 24). What the
// server is to be afterwards is judged again when it is down.
func fenced(f Facts, v Verdict) Verdict {
	s := f.Local.State
	if v.Keep || v.Grant.Role == grant.Primary || v.Grant.Role == grant.Stop || s == nil || s.Server != grant.Writable && s.Server != grant.Promoting {
		return v
	}
	stop := grant.Grant{Role: grant.Stop, Reason: "the server may write no longer: " + v.Reason}
	if p := f.Local.Previous; p != nil { // guard obeys a deadline of the reign it knows
		stop.Epoch, stop.Reign, stop.Timeline = p.Epoch, p.Reign, p.Timeline
	}
	v.Grant, v.Reason, v.Fence = stop, stop.Reason, true
	v.Do = Nothing // whatever follows waits until this server is down
	return v
}

func decide(f Facts) Verdict {
	switch {
	case f.Draining && f.down():
		return ending(f)
	case f.stayStopped() != "":
		return stayStopped(f)
	case f.Store.Known == Unreachable:
		return withoutStore(f)
	case f.Me.Member == "":
		return keepOr(f, wait("the API has not said which volume this pod has"))
	case f.Store.Known == Broken:
		return keepOr(f, person(fmt.Sprintf("the record in lease %s cannot be understood (%s): nobody leads until a person has looked; "+
			"to begin from this member's data, delete the lease and set bootstrap.adopt to the pod that is to lead", f.Lease, f.Store.Problem)))
	case f.Store.Known == Absent:
		return withoutRecord(f)
	case f.Store.Record.Holder.Member == f.Me.Member:
		return holder(f)
	default:
		return follower(f)
	}
}

// keepOr leaves a grant in force alone, and says v otherwise. A grant in force ends by itself; nothing less than another holder
// ends it earlier.
func keepOr(f Facts, v Verdict) Verdict {
	if f.Store.InForce || f.Local.PreviousInForce {
		return keep(v.Reason)
	}
	return v
}

// withoutStore: the store has not answered since this process started, or no longer does so long that nothing it said is used.
func withoutStore(f Facts) Verdict {
	why := "the Kubernetes API does not answer: " + f.Store.Problem
	previous := f.Local.Previous
	switch {
	case f.Local.PreviousInForce:
		return keep(why + "; the grant in force goes on until it ends") // D39
	case previous != nil && previous.Role == grant.Replica:
		return keep(why + "; going on as a replica") // D43: a replica's grant never ends
	case f.Store.Silent < patience:
		return keepOrWait(previous, why)
	case f.Local.State == nil || f.Local.State.Volume == nil || f.Local.State.Volume.Empty:
		return keepOrWait(previous, why)
	case f.unconfirmed(*f.Local.State.Volume):
		return keepOrWait(previous, why+unconfirmedSentence)
	default:
		// D43: reads, from data that is there. Never a writer: without a grant to be primary guard starts a standby.
		return replica(f, nil, why+"; reads only")
	}
}

func keepOrWait(previous *grant.Grant, why string) Verdict {
	if previous != nil && previous.Role == grant.Stop {
		return keep(why)
	}
	return wait(why)
}

// unconfirmed reports whether this volume may hold commits of a synchronous reign that nobody else has: its server led, and nothing shows that it has
// followed anybody since. They were never acknowledged, a restart makes them visible, and whoever was elected elsewhere takes them away again, so no
// session may see them (D14). Only the store can tell that nobody was.
func (f Facts) unconfirmed(v grant.Volume) bool {
	return f.held() != nil && !v.WasPrimary.IsZero() && v.PrimaryLine >= v.Timeline
}

const unconfirmedSentence = "; no reads meanwhile: this server led in synchronous mode, and may hold commits that were never acknowledged"

// replica is a grant to stream from up, or from nobody.
func replica(f Facts, up *grant.Upstream, reason string) Verdict {
	g := grant.Grant{Role: grant.Replica, Reason: reason, Upstream: up, Sync: f.held()}
	if f.Store.Known == Present {
		r := f.Store.Record
		g.Epoch, g.Reign, g.SystemID, g.Version = r.Epoch, r.Reign, r.SystemID, r.Version()
	}
	return Verdict{Grant: g, Reason: reason}
}

// held is what a server is told that does not lead: in synchronous mode it must not acknowledge anything from the moment that it is promoted
// until its keeper has said whom commits wait for (rule 11).
func (f Facts) held() *grant.Sync {
	if f.Synchronous || f.Store.Known == Present && f.Store.Record.Sync != nil {
		return &grant.Sync{K: 1}
	}
	return nil
}

// waits is what a server is told that leads.
func (f Facts) waits() *grant.Sync {
	if f.Sync != nil {
		return f.Sync
	}
	if held := f.held(); held != nil {
		return held
	}
	return &grant.Sync{}
}

// volume returns what is on the volume; ok is false while nobody has looked in this life of the pod.
func (f Facts) volume() (grant.Volume, bool) {
	if f.Local.State == nil || f.Local.State.Volume == nil {
		return grant.Volume{}, false
	}
	return *f.Local.State.Volume, true
}

// copied reports whether the volume is another member's copy (D24, D26).
func (f Facts) copied(v grant.Volume) bool { return v.Noted != "" && v.Noted != f.Me.Member }

// foreign says why the volume's data cannot be the record's; empty if it can.
func (f Facts) foreign(v grant.Volume) string {
	r := f.Store.Record
	switch {
	case v.SystemID != "" && r.SystemID != "" && v.SystemID != r.SystemID:
		return fmt.Sprintf("the volume holds another database (system id %s) than the record in lease %s (system id %s): nothing is changed; "+
			"keep the volume and find out which of the two is the right one; remove the lease if it is the volume's", v.SystemID, f.Lease, r.SystemID)
	case v.HighestEpoch.Compare(r.Epoch) > 0 && (v.SystemID == r.SystemID || r.SystemID == ""):
		return fmt.Sprintf("the record in lease %s is of epoch %s and this volume has seen epoch %s: the lease was set back or copied; nobody leads "+
			"by it; delete the lease and set bootstrap.adopt to the pod that is to lead", f.Lease, r.Epoch, v.HighestEpoch) // D12
	}
	return ""
}

// follower: the record names another member.
func follower(f Facts) Verdict {
	r := f.Store.Record
	v, looked := f.volume()
	if looked {
		if why := f.foreign(v); why != "" {
			return person(why)
		}
	}
	if lost, sentence := allLost(f); lost {
		return person(sentence)
	}
	if looked && r.SystemID == "" && f.volumeGone(r.Holder.Member) {
		return person(abandoned(f, v))
	}
	leader, named := r.Leader()
	switch {
	case !named:
		return wait(fmt.Sprintf("the record of epoch %s does not list its own leader yet", r.Epoch))
	case r.SystemID == "":
		return wait(fmt.Sprintf("%s is creating the database", leader.Pod))
	case !r.Listed(f.Me.Member):
		return unlisted(f, leader)
	}
	if looked && !v.Empty && !f.copied(v) && (r.Free() || f.Store.Expired) {
		if !r.MayLead() { // D45
			return person(fmt.Sprintf("the record has format %d and this release understands up to %d: it does not lead; use the newer release", r.Format, record.Format))
		}
		return candidate(f, v)
	}
	if why := f.strayed(); why != "" {
		out := Verdict{Reason: why, Grant: grant.Grant{Role: grant.Stop, Reason: why, Epoch: r.Epoch, Reign: r.Reign, Timeline: r.Timeline, SystemID: r.SystemID}}
		return out // once it is down, the plan brings it back
	}
	if f.Local.Stranger != "" { // rule 13
		return replica(f, nil, fmt.Sprintf("this server streams from %s, and %s leads: it streams from nobody until that is over", f.Local.Stranger, leader.Pod))
	}
	up := &grant.Upstream{Member: leader.ID, Name: leader.Pod, Host: leader.Host, Address: leader.Address, Port: leader.Port}
	out := replica(f, up, fmt.Sprintf("%s leads in epoch %s", leader.Pod, r.Epoch))
	out.Grant.Timeline = r.Timeline
	out.Grant.Slot, out.Grant.SyncName = SlotName(f.Me.Member), SlotName(f.Me.Member)
	out.Grant.MayClone, out.Grant.MayRewind, out.Grant.MaxDiscard = true, true, f.Election.MaxDiscard
	if r.Opened == r.Timeline {
		out.Grant.Lines = r.Lines
	}
	if f.Full != "" {
		out.Reason += fmt.Sprintf("; %s: its server ends whenever it needs more: delete what is not needed, or raise persistence.size", f.Full)
		out.Person = true
	}
	if f.volumeGone(r.Holder.Member) {
		out.Reason += "; its volume is gone, and the listed members elect another when its lease runs out"
	}
	if f.Local.Mute >= MuteAfter && f.Local.State != nil && f.Local.State.Server == grant.Standby {
		out.Person = true
		out.Reason += "; this member has received nothing from it for more than a minute"
		switch {
		case f.Local.Refusal != "":
			out.Reason += fmt.Sprintf(": %q, says %s; if the WAL that it needs is gone, delete its PersistentVolumeClaim and then its pod, to have it cloned anew", f.Local.Refusal, leader.Pod)
		case f.Local.Unasked != "":
			out.Reason += ", and could not ask why: " + f.Local.Unasked
		}
	}
	return out
}

// strayed says why a running standby cannot follow the leader: it is past the point where the leader's timeline began.
func (f Facts) strayed() string {
	r, own := f.Store.Record, f.Local.Standing
	if f.Local.Replayed == nil || own.Timeline == 0 || r.Opened != r.Timeline || f.Local.State == nil || f.Local.State.Server != grant.Standby {
		return ""
	}
	switch where, beyond := timeline.Relate(own.Timeline, *f.Local.Replayed, r.Opened, r.Lines); where {
	case timeline.Ahead:
		return fmt.Sprintf("this member is %d bytes past the point where the leader's timeline %d began: it must be brought back before it can follow", beyond, r.Timeline)
	case timeline.Apart:
		return fmt.Sprintf("this member is on timeline %d, which is none of the leader's: it must be brought back before it can follow", own.Timeline)
	}
	return ""
}

func goneSentence(f Facts) string {
	return "its volume is gone, and a member that is not listed never leads: if no listed member is left, restore the volume, or delete the lease " +
		f.Lease + ": what to set bootstrap.adopt to is told then"
}

// abandoned is the sentence for a claim to create the database whose own volume is gone: nobody can resume it (rule 19).
func abandoned(f Facts, v grant.Volume) string {
	what := "nothing was stored under it"
	if traces := f.traces(); !v.Empty || len(traces) > 0 {
		what = fmt.Sprintf("volumes of the release (%s) hold or held a database, which stays: what to set bootstrap.adopt to is told then", strings.Join(traces, ", "))
	}
	return fmt.Sprintf("the record in lease %s is member %s's claim to create the database, and that member's volume is gone; %s: "+
		"kubectl -n %s delete lease %s", f.Lease, f.Store.Record.Holder.Member, what, f.Namespace, f.Lease)
}

// volumeGone reports whether the API lists the release's volumes and member's is not among them.
func (f Facts) volumeGone(member string) bool {
	return f.Others.Known && len(f.Others.Volumes) > 0 &&
		!slices.ContainsFunc(f.Others.Volumes, func(v Volume) bool { return v.Member == member })
}

// allLost reports whether the record tells of a database of which no volume holds anything.
func allLost(f Facts) (bool, string) {
	v, looked := f.volume()
	r := f.Store.Record
	if !looked || !v.Empty || r.SystemID == "" || !f.Others.Known || !f.volumeGone(r.Holder.Member) {
		return false, ""
	}
	if len(f.Others.WithData) > 0 || len(f.Others.Empty) < len(f.Others.Volumes) ||
		slices.ContainsFunc(f.Others.Volumes, func(v Volume) bool { return v.SystemID != "" }) {
		return false, ""
	}
	return true, lostSentence(f)
}

func lostSentence(f Facts) string {
	r := f.Store.Record
	return fmt.Sprintf("the record in lease %s tells of a database (system id %s, epoch %s) and every volume of the release is empty: restore the "+
		"volumes, or, to begin with a new and empty database, delete the lease: kubectl -n %s delete lease %s",
		f.Lease, r.SystemID, r.Epoch, f.Namespace, f.Lease)
}

// SlotName is the replication slot of a member on its upstream, and its application_name there.
func SlotName(member string) string { return grant.SlotName(member) }

// checkpoint is the position of the volume's last checkpoint; ok is false if it is unknown.
func checkpoint(v grant.Volume) (lsn.LSN, bool) {
	l, err := lsn.Parse(v.Checkpoint)
	return l, err == nil && l != 0
}

// next is the record of the next epoch, led by this member on a timeline that no volume heard of has been on (rule 14).
func next(f Facts, r record.Record, after epoch.Epoch, lines ...uint32) record.Record {
	n := r.Clone()
	n.Holder, n.Released, n.Vacated = f.Me, false, epoch.Version{}
	n.Epoch = after.NextLocal()
	n.Timeline = slices.Max(append(lines, r.Timeline)) + 1
	n.Members = listed(n.Members, record.Member{ID: f.Me.Member, Pod: f.Pod, Host: f.Host, Address: f.IP, Port: f.Port})
	return n
}

// listed returns the list with m in it at its present address.
func listed(members []record.Member, m record.Member) []record.Member {
	i := slices.IndexFunc(members, func(o record.Member) bool { return o.ID == m.ID })
	if i < 0 {
		return append(members, m)
	}
	members[i].Pod, members[i].Host, members[i].Address, members[i].Port = m.Pod, m.Host, m.Address, m.Port
	return members
}
