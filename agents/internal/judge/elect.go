package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// heirWait is how long a released record is left to the member that it is meant for.
const heirWait = 2 * time.Second

// stuckFor is after how long an election that waits for what may never come is something for a person.
const stuckFor = 30 * time.Second

// candidate: the record is free, because its time is over or because it was given back, and this member is listed in it. It votes: it
// streams from nobody, says where it is, hears the others, and only then may replace the record.
func candidate(f Facts, v grant.Volume) Verdict {
	r := f.Store.Record
	switch {
	case f.Promised > 0 && !r.Free(): // rule 17
		return keepRole(f, "the leader cannot write to the Kubernetes API and was promised that nobody takes its place")
	case f.Store.Silent >= patience && f.unconfirmed(v):
		return keepRole(f, "the Kubernetes API does not answer: "+f.Store.Problem+unconfirmedSentence)
	case f.Store.Silent >= patience:
		return replica(f, nil, "the Kubernetes API does not answer; reads only: "+f.Store.Problem) // D43
	case f.Local.Stale:
		return keepRole(f, "the reporter of this volume's state is not heard")
	case f.Local.State.Phase == grant.Locking:
		// An earlier server may still run on this volume (rule 6).
		return wait("the volume is locked: " + f.Local.State.Reason)
	case f.paused() && r.Holder.Member != f.Me.Member:
		return keepRole(f, pausedSentence(f))
	case r.Released && holdsFinal(f, v):
		return inherit(f, v)
	case !f.Store.Expired:
		return keepRole(f, fmt.Sprintf("the record was released at %s, which this member does not hold: waiting for one that does", r.LSN))
	}
	out := replica(f, nil, "")
	out.Grant.Vote, out.Grant.Timeline = true, r.Timeline
	winner, reason, stuck := elect(f)
	out.Grant.Reason = fmt.Sprintf("the record of epoch %s is free: voting on it", r.Epoch)
	out.Reason = out.Grant.Reason + ": " + reason
	out.Person = stuck && f.Election.For >= stuckFor // what is in the way may go by itself
	if winner {
		out.Do, out.Record = Take, succeed(f, v)
		out.Reason = fmt.Sprintf("%s: taking epoch %s on timeline %d", reason, out.Record.Epoch, out.Record.Timeline)
	}
	return out
}

// keepRole leaves a member that reads as it is.
func keepRole(f Facts, reason string) Verdict {
	if p := f.Local.Previous; p != nil && p.Role == grant.Replica {
		return keep(reason)
	}
	return wait(reason)
}

// holdsFinal reports whether this member has all that the leader had when it gave the record back. On another timeline than the leader's a
// position proves nothing: the record need not know yet where that timeline began.
func holdsFinal(f Facts, v grant.Volume) bool {
	r, own := f.Store.Record, f.Local.Standing
	switch {
	case f.Draining || own.Barred != "" || own.Unfit != "":
		return false
	case f.Local.Replayed != nil && f.Local.State.Server == grant.Standby:
		own.Position = *f.Local.Replayed
		// The final position is where the shutdown checkpoint begins. Whoever lacks that record holds all data, but the old leader would
		// be past the fork and had to be rewound: such a one waits for a better one.
		holds := own.Position > r.LSN || own.Position == r.LSN && f.Store.FreeFor >= heirWait
		return own.Timeline == r.Timeline && holds && barred(own, r) == ""
	}
	at, known := checkpoint(v)
	return f.Local.State.Server == grant.Down && r.Holder.Member == f.Me.Member && known && at >= r.LSN && v.Timeline == r.Timeline
}

// inherit: this member holds the final position of a leader whose server was proven stopped. Nobody can have more, so nobody need be
// heard (rule 7).
func inherit(f Facts, v grant.Volume) Verdict {
	r := f.Store.Record
	heir, named := r.Find(r.Heir)
	if named && heir.ID != f.Me.Member && f.Store.FreeFor < heirWait {
		return keepRole(f, fmt.Sprintf("the record was released to %s", heir.Pod))
	}
	why := "holds the final position of the leader that gave the record back"
	out := keepRole(f, "")
	if f.Local.State.Server == grant.Down {
		out = wait(why)
	}
	out.Do, out.Record = Take, succeed(f, v)
	out.Reason = fmt.Sprintf("%s: taking epoch %s on timeline %d", why, out.Record.Epoch, out.Record.Timeline)
	return out
}

// succeed is the record of the next reign, led by this member on a timeline that nobody heard of has been on (rule 14).
func succeed(f Facts, v grant.Volume) record.Record {
	r := f.Store.Record
	lines := append(f.lines(r.SystemID), v.Timeline, v.PrimaryLine, f.Local.Standing.Timeline)
	for _, p := range f.Election.Peers {
		lines = append(lines, p.Timeline)
	}
	n := next(f, r, r.Epoch, lines...)
	if n.Heir = ""; f.Local.Standing.Known {
		n.LSN = f.Local.Standing.Position
	}
	return n
}

// elect judges whether this member is to replace the record now. The reason says what it waits for otherwise; stuck, that this may never
// come by itself.
func elect(f Facts) (winner bool, reason string, stuck bool) {
	r, own := f.Store.Record, f.Local.Standing
	switch {
	case own.Version != r.Version() || f.Local.State.Server != grant.Standby:
		return false, "the stream is being cut", false
	case !own.Known:
		return false, "its position is not known yet: " + own.Problem, false
	case f.Draining:
		return false, "this pod ends", false
	}
	heard := []Standing{own}
	var silent []string // listed, but for the leader that is gone
	for _, m := range r.Members {
		i := slices.IndexFunc(f.Election.Peers, func(p Standing) bool { return p.Member == m.ID && counts(p, r) })
		switch {
		case m.ID == own.Member:
		case i >= 0:
			heard = append(heard, f.Election.Peers[i])
		case m.ID != r.Holder.Member && !fencedMember(r, m.ID): // a person has said not to wait for those
			silent = append(silent, m.Pod)
		}
	}
	if r.Sync != nil { // with K 0 only the leader has all that was acknowledged
		return electSynchronous(f, heard)
	}
	return electAsynchronous(f, heard, silent)
}

// counts reports whether an answer is a vote on this very state of the record.
func counts(p Standing, r record.Record) bool {
	return p.Known && p.Version == r.Version() && (p.SystemID == r.SystemID || r.SystemID == "")
}

// better orders standings, the best first.
func better(a, b Standing) int {
	return cmp.Or(byFitness(a, b), byPosition(a, b), -cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Member, b.Member))
}

// byFitness puts a member that gave the right up lately behind all that did not.
func byFitness(a, b Standing) int {
	switch {
	case (a.Unfit == "") == (b.Unfit == ""):
		return 0
	case a.Unfit == "":
		return -1
	}
	return 1
}

func byPosition(a, b Standing) int {
	return cmp.Or(-cmp.Compare(a.Timeline, b.Timeline), -cmp.Compare(a.Position, b.Position))
}

// barred says why a standing cannot win; empty: it can.
func barred(s Standing, r record.Record) string { return cmp.Or(s.Barred, astray(s, r)) }

// astray says why a position is not on the record's way; empty: it is.
func astray(s Standing, r record.Record) string {
	switch {
	case s.Timeline > r.Timeline:
		return fmt.Sprintf("it is on timeline %d, which the record does not know", s.Timeline)
	case s.Member == r.Holder.Member && setBack(s, r):
		return fmt.Sprintf("it led, and its volume ends at %s on timeline %d, before the position %s on timeline %d that the record tells of: the storage was set back",
			s.Position, s.Timeline, r.LSN, max(r.Opened, 1))
	case s.Timeline > r.Opened || r.Opened == 0:
		return "" // on a timeline that was reserved after the last one known to have opened
	}
	if where, _ := timeline.Relate(s.Timeline, s.Position, r.Opened, r.Lines); where != timeline.On {
		return fmt.Sprintf("it has diverged: %s on timeline %d is not on the way to timeline %d", s.Position, s.Timeline, r.Opened)
	}
	return ""
}

// setBack reports whether the leader's volume holds less than the leader has told the record of.
func setBack(s Standing, r record.Record) bool {
	return s.Position < r.LSN || r.Opened == r.Timeline && s.Timeline != r.Timeline
}

// electSynchronous: an acknowledged commit is on the leader and on K of the set, so whoever is highest among |set| - K + 1 of the set holds
// all of them (rule 10). There is no waiting it out: with fewer, nobody can know.
//
// A member that must not win is heard like the others. It is waited for only as long as there are not enough without it: among those that
// are enough one has every acknowledged commit, so what the barred one has more was never acknowledged.
func electSynchronous(f Facts, heard []Standing) (winner bool, reason string, stuck bool) {
	r, own := f.Store.Record, f.Local.Standing
	var on, able []Standing
	for _, s := range heard {
		if astray(s, r) != "" {
			continue // it tells nothing about what was acknowledged
		}
		if on = append(on, s); s.Barred == "" {
			able = append(able, s)
		}
	}
	if short := missing(r, on); short != "" {
		return false, short, true
	}
	if why := barred(own, r); why != "" {
		return false, "this member cannot win: " + why, false
	}
	if missing(r, able) != "" {
		top := slices.MinFunc(on, byPosition)
		if byPosition(top, own) < 0 {
			return false, behind(f, top), top.Barred != ""
		}
	}
	// The highest of those that may win has all, whichever of them are fit.
	if top := slices.MinFunc(able, byPosition); byPosition(top, own) < 0 {
		return false, behind(f, top), false
	}
	slices.SortFunc(able, better)
	winner, reason = rank(f, able)
	return winner, reason, false
}

// missing says why those heard are not enough to know what was acknowledged; empty: they are.
func missing(r record.Record, heard []Standing) string {
	of := 0
	for _, s := range heard {
		if s.Member == r.Holder.Member {
			return ""
		}
		if slices.Contains(r.Sync.Members, s.Member) {
			of++
		}
	}
	if need := max(len(r.Sync.Members)-r.Sync.K+1, 1); of < need {
		return fmt.Sprintf("%d of the synchronous members %s must be heard, %d are: without them nobody knows what was acknowledged",
			need, names(r, r.Sync.Members), of)
	}
	return ""
}

// behind says whom this member waits for in synchronous mode.
func behind(f Facts, top Standing) string {
	out := fmt.Sprintf("%s has a higher position and may hold what was acknowledged: waiting for it", top.Pod)
	if top.Barred != "" {
		out += fmt.Sprintf(", and it cannot win: %s: let it lead, or bring back %s", top.Barred, names(f.Store.Record, []string{f.Store.Record.Holder.Member}))
	}
	return out
}

// electAsynchronous: who is highest among those heard, after the others had their time, and within what may be lost.
func electAsynchronous(f Facts, heard []Standing, silent []string) (winner bool, reason string, stuck bool) {
	r, own := f.Store.Record, f.Local.Standing
	if why := barred(own, r); why != "" {
		return false, "this member cannot win: " + why, false
	}
	if len(silent) > 0 && f.Election.For < f.Election.Wait {
		return false, "waiting for " + strings.Join(silent, ", ") + " to be heard", false
	}
	if lag := r.LSN.Sub(own.Position); lag > f.Election.MaxLag {
		return false, fmt.Sprintf("this member lacks %d bytes of what the leader had, and %d may be lost (failover.maxLagOnFailover): bring back %s, or allow more",
			lag, f.Election.MaxLag, names(r, []string{r.Holder.Member})), true
	}
	able := slices.DeleteFunc(heard, func(s Standing) bool { return barred(s, r) != "" })
	slices.SortFunc(able, better)
	winner, reason = rank(f, able)
	return winner, reason, false
}

// rank: the best acts at once; the next ones when those before them had their time and did not act.
func rank(f Facts, able []Standing) (bool, string) {
	i := slices.IndexFunc(able, func(s Standing) bool { return s.Member == f.Local.Standing.Member })
	if i > 0 && f.Election.For < f.Election.Wait*time.Duration(i+1) {
		return false, fmt.Sprintf("%s is before this member: waiting for it", able[0].Pod)
	}
	return true, fmt.Sprintf("has the best position of %d heard", len(able))
}

// names gives the pods of members, for sentences.
func names(r record.Record, ids []string) string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		if m, ok := r.Find(id); ok {
			id = m.Pod
		}
		out = append(out, id)
	}
	return strings.Join(out, ", ")
}
