package keeping

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/members"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/quorum"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// settle is how long the server must have answered by a new list, without interruption, before it counts as in force. This session and the
// walsenders are told in one go by the postmaster; a walsender that was told finishes at most what it was doing.
const settle = time.Second

// voteAge is how long ago a position was heard in the election that has led to the present server: a promotion may replay for a while.
const voteAge = time.Minute

// waiting is whom commits of a reign wait for, as it was last decided. The zero value is of no reign.
type waiting struct {
	epoch epoch.Epoch
	reign string
	set   quorum.Set
}

// waitsFor is what the server has last been told about whom commits wait for in the present reign.
func (k *Keeper) waitsFor(n known, v lease.View) quorum.Set {
	r := v.Record
	if w := n.waiting; w.epoch == r.Epoch && w.reign == r.Reign && !r.Epoch.IsZero() {
		return w.set
	}
	// An earlier process of this incarnation may have said it (SAFETY D39).
	if g := k.issuer.previous(); g != nil && g.Role == grant.Primary && g.Epoch == r.Epoch && g.Reign == r.Reign && g.Sync != nil {
		return setOf(*g.Sync)
	}
	if r.Sync != nil || n.mode.On() {
		return quorum.Nobody()
	}
	return quorum.Set{}
}

func setOf(s grant.Sync) quorum.Set { return quorum.Set{K: s.K, Members: s.Members} }

func grantOf(s quorum.Set) *grant.Sync { return &grant.Sync{K: s.K, Members: s.Members} }

// promised is the record's promise.
func promised(r record.Record) *quorum.Set {
	if r.Sync == nil {
		return nil
	}
	return &quorum.Set{K: r.Sync.K, Members: slices.Sorted(slices.Values(r.Sync.Members))}
}

// synchronous keeps, on the leader, whom commits wait for and what the record promises about it.
func (k *Keeper) synchronous() func(context.Context) error {
	o := pg.NewObserver(k.where)
	var p syncing
	var reign string
	var reignBegan boottime.Instant
	said := ""
	return func(ctx context.Context) error {
		k.readMode()
		n, v, now := k.look(), k.view(), boottime.Now()
		if !n.writes(v, now) || !k.issuer.inForce() || !n.mode.On() && v.Record.Sync == nil && k.waitsFor(n, v).Equal(quorum.Set{}) {
			o.Close()
			p, said = syncing{}, ""
			k.change(func(n *known) { n.sync = nil })
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		acks, err := o.Acks(ctx)
		if err != nil {
			return err
		}
		if reign != v.Record.Reign {
			reign, reignBegan = v.Record.Reign, now
		}
		mode := modeOf(n.mode, n.modeNew, v.Record, reignBegan, now)
		facts := p.facts(boottime.Now(), lifeOf(*n.state, v.Record), v.Record, k.waitsFor(n, v), mode, acks, n.voters)
		facts.Members = withoutSilent(facts.Members, n.hearings(now, v.Record, v.Record.Members), facts.Number)
		facts.Pending = n.news.syncPending(v.Record)
		step := quorum.Next(facts)
		found := false
		k.change(func(n *known) {
			n.sync = &observed.Sync{Mode: string(facts.Mode), K: facts.Ordered.K, Size: len(facts.Ordered.Members), Met: facts.Ordered.Met(), InForce: facts.InForce, Recorded: facts.Record != nil && facts.Record.Equal(facts.Ordered), Reason: step.Reason}
			if p.covered && n.covered != p.server {
				n.covered, found = p.server, true
				k.publishWake.up()
			}
		})
		if found {
			k.remember(nil)
		}
		if step.Reason != said {
			said = step.Reason
			k.log.Info("synchronous set", "reason", step.Reason, "waits", facts.Ordered.String(), "record_changes", step.Write, "server_changes", step.Order != nil)
		}
		switch {
		case step.Write:
			var promise *record.Sync
			if step.Record != nil {
				promise = &record.Sync{K: step.Record.K, Members: step.Record.Members, Mode: mode.Mode, Number: mode.Members()}
			}
			k.tellRecord(v.Record.Epoch, func(n *news) { n.sync, n.syncTold = promise, true })
			k.loop.Load().Nudge()
		case step.Order != nil:
			k.change(func(n *known) { n.waiting = waiting{v.Record.Epoch, v.Record.Reign, *step.Order} })
			k.judgeWake.up()
		case mode.On() && !facts.Pending && v.Record.Sync != nil && (v.Record.Sync.Mode != mode.Mode || v.Record.Sync.Number != mode.Members()):
			promise := *v.Record.Sync
			promise.Mode, promise.Number = mode.Mode, mode.Members()
			k.tellRecord(v.Record.Epoch, func(n *news) { n.sync, n.syncTold = &promise, true })
		}
		return nil
	}
}

// writes reports whether this member's server writes under a record that the store has confirmed to this very process: what the record promises
// is compared with what the server does, so a late write of the process before must not be able to change it.
func (n known) writes(v lease.View, now boottime.Instant) bool {
	s := n.freshStatus(now)
	return v.InForce(now) && v.Confirmed() && s != nil && !s.InRecovery && n.state != nil && n.state.Server == grant.Writable
}

// coverEvery is between two looks after a change of leaders: the Service for writing leads nowhere before enough members have followed.
const coverEvery = 50 * time.Millisecond

// syncEvery: quickly while something is awaited, because commits may wait with it.
func (k *Keeper) syncEvery() time.Duration {
	n := k.look()
	covered := n.state != nil && n.covered == lifeOf(*n.state, k.view().Record)
	return syncPause(n.sync, n.mode.On() && k.issuer.inForce(), covered, n.passage != nil)
}

// syncPause: s is how synchronous mode stands, on whether this leader is to be in it, changing whether it has come to lead in the last minute.
func syncPause(s *observed.Sync, on, covered, changing bool) time.Duration {
	switch {
	case s == nil && !on:
		return time.Second
	case !covered && changing:
		return coverEvery
	case s != nil && s.InForce && s.Recorded && covered:
		return time.Second
	default:
		return 200 * time.Millisecond
	}
}

// life is one life of the server in one reign. The process id alone does not tell two of them apart.
type life struct {
	PID   int              `json:"pid"`
	Began boottime.Instant `json:"began"`
	Reign string           `json:"reign"`
}

// lifeOf is the life that a state tells of.
func lifeOf(s grant.State, r record.Record) life { return life{s.LastPID, s.Began, r.Reign} }

// syncing is what the synchronous loop has seen over time.
type syncing struct {
	server life
	began  boottime.Instant
	// opened is the end of WAL when the server was first seen to lead; covered: enough members have had all of that on disk.
	opened  lsn.LSN
	covered bool
	// seen is when each member was last seen to stream, or first looked for.
	seen map[string]boottime.Instant
	// list is whom commits wait for since, as every answer has shown; at is the end of WAL when it was in force.
	list    string
	since   boottime.Instant
	inForce bool
	at      lsn.LSN
}

// facts takes in one answer of the server and tells what a step rests on.
func (p *syncing) facts(now boottime.Instant, s life, r record.Record, ordered quorum.Set, mode settings.Synchronous, a pg.Acks, voters map[string]boottime.Instant) quorum.Facts {
	if p.server != s {
		*p = syncing{server: s, opened: a.Flushed, began: now, seen: map[string]boottime.Instant{}}
	}
	p.prove(now, grantOf(ordered).Names(), a)
	f := quorum.Facts{
		Mode: quorum.Off, Number: mode.Members(), Leader: r.Holder.Member, Record: promised(r), Ordered: ordered, InForce: p.inForce, Members: map[string]quorum.Member{},
	}
	switch {
	case mode.Strict():
		f.Mode = quorum.Strict
	case mode.On():
		f.Mode = quorum.Any
	}
	covers := 0
	for _, m := range r.Members {
		if m.ID == f.Leader {
			continue
		}
		streams, flushed := standbyOf(grant.SlotName(m.ID), a.Standbys)
		if _, known := p.seen[m.ID]; streams || !known {
			p.seen[m.ID] = now
		}
		at, voted := voters[m.ID]
		f.Members[m.ID] = quorum.Member{Voted: voted && p.began.Sub(at) < voteAge, Streams: streams, Away: now.Sub(p.seen[m.ID]), CaughtUp: p.inForce && streams && flushed >= p.at}
		if streams && flushed >= p.opened && slices.Contains(ordered.Members, m.ID) {
			covers++
		}
	}
	// A session on the new leader must not see what a failover could still take away (SAFETY D14).
	p.covered = p.covered || f.Record != nil && ordered.Met() && covers >= ordered.K
	return f
}

// withoutSilent counts a member whose keeper is not heard as away although it streams, as long as enough others are left: it can neither promise to hold
// still nor be heard in an election, and as one of the set it would stay in the record's list (SAFETY D31). Where too few would be left, whoever
// streams counts: keepers that cannot be reached are no reason to acknowledge with less.
func withoutSilent(all map[string]quorum.Member, of map[string]members.Hearing, number int) map[string]quorum.Member {
	silent := func(id string) bool { return of[id].Silent >= members.Patience }
	heard := 0
	for id, m := range all {
		if m.Streams && !silent(id) {
			heard++
		}
	}
	if heard < number {
		return all
	}
	out := maps.Clone(all)
	for id, m := range out {
		if silent(id) {
			m.Streams, m.Away = false, max(m.Away, of[id].Silent)
			out[id] = m
		}
	}
	return out
}

// prove finds out whether the list is in force everywhere: this session sees it, each sender goes by it, and the checkpointer, by whose word
// sessions wait at all, has slept since.
func (p *syncing) prove(now boottime.Instant, want string, a pg.Acks) {
	agrees := a.Names == want
	if p.inForce && agrees && p.list == want {
		return
	}
	set := grant.Listed(want)
	for _, s := range a.Standbys {
		agrees = agrees && (s.Flushed == nil || s.Counts == slices.Contains(set, s.Name))
	}
	if p.inForce = false; !agrees || !a.Idle || p.list != want {
		p.list, p.since = want, 0
	}
	switch {
	case !agrees || !a.Idle:
	case p.since == 0:
		p.since = now
	case now.Sub(p.since) >= settle:
		p.inForce, p.at = true, a.Flushed
	}
}

// standbyOf reports whether a member streams, as it must to count, and how far it is. A name that two connections use says nothing about
// either (SAFETY D7).
func standbyOf(name string, all []pg.Standby) (streams bool, flushed lsn.LSN) {
	n := 0
	for _, s := range all {
		if s.Name != name {
			continue
		}
		n++
		streams = s.Streams && s.OwnSlot && s.Flushed != nil
		if s.Flushed != nil {
			flushed = *s.Flushed
		}
	}
	return streams && n == 1, flushed
}

// covered reports whether the server may be published for writing: always in asynchronous mode, and otherwise when what it began with cannot be
// lost any more.
func (k *Keeper) covered(n known, v lease.View) bool {
	if !n.mode.On() && v.Record.Sync == nil {
		return true
	}
	return n.state != nil && n.covered == lifeOf(*n.state, v.Record)
}
