package explore

import (
	"context"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// keeper is the model of package keeping around its decisions: it gathers facts, asks the judge, writes grants and changes the record.
type keeper struct {
	process
	h    *host
	loop *lease.Loop
	lane *lane
	last grant.Grant // as written; Seq 0: nothing was

	turning  bool                     // a turn of the loop is due
	todo     func(lease.ByHand) error // an order to the lease loop
	did      func(error)
	heard    [members]*answered
	handover *judge.Handover
	// unfitUntil is when this member, which gave the right up, may win again before others.
	unfitUntil boottime.Instant
	began      boottime.Instant
	voting     boottime.Instant
	standby    boottime.Instant // since when the server is one
	position   position
	replayed   *lsn.LSN
	seenAt     boottime.Instant
	setter     setter
	reigns     int
	// rerun is the server that is to be restarted for its settings, rerunAt since when.
	rerun   int
	rerunAt boottime.Instant
}

type answered struct {
	standing judge.Standing
	at       boottime.Instant
}

// position is where the server ends, as shown after the vote on version.
type position struct {
	version epoch.Version
	pid     int
	known   bool
	at      lsn.LSN
	line    uint32
}

var timing = lease.Timing{Duration: 4 * time.Second, FenceAfter: 2500 * time.Millisecond, Renew: 500 * time.Millisecond}

// calmLook is between two looks at the server while nobody votes.
const calmLook = 400 * time.Millisecond

const waitForOthers = 500 * time.Millisecond // failover.electionWait

func (h *host) bootKeeper() {
	k := &keeper{process: process{s: h.s, rate: h.rate}, h: h, began: h.clock()}
	h.keeper = k
	k.start()
	if g := h.control.grant; g != nil && g.Holder.Pod == h.me.Pod && g.Holder.Boot == h.me.Boot {
		k.last = *g
	}
	if st := h.control.state; st != nil {
		k.last.Seq = max(k.last.Seq, st.Seq)
	}
	k.lane = newLane(h.s, &k.process, h.id)
	o := lease.Options{Store: k.lane, Me: h.me, Timing: timing, Now: h.clock, Changed: k.renewed}
	if k.last.Role == grant.Primary && h.clock().Before(k.last.Deadline) {
		o.Adopted = k.last.Deadline
	}
	k.loop = lease.New(o)
	k.turning = true
	k.drive()
	k.every(250*time.Millisecond, k.judge)
	k.every(100*time.Millisecond, k.elect)
	k.every(50*time.Millisecond, k.observe)
	k.every(100*time.Millisecond, k.manage)
}

func (k *keeper) every(d time.Duration, do func()) {
	k.s.after(d, &k.process, func() {
		do()
		k.every(d, do)
	})
}

// drive is lease.Loop.Run without timers: orders first, then what is due.
func (k *keeper) drive() {
	ctx := context.Background()
	hand := k.loop.ByHand()
	switch {
	case k.lane.busy:
	case k.todo != nil:
		todo, did := k.todo, k.did
		k.todo = nil
		var err error
		k.lane.run(func() { err = todo(hand) }, func() { did(err); k.drive() })
	case k.turning:
		k.turning = false
		var wait time.Duration
		k.lane.run(func() { wait = hand.Turn(ctx) }, func() {
			k.s.after(wait, &k.process, func() { k.turning = true; k.drive() })
			k.drive()
		})
	}
}

func (k *keeper) nudge() { k.turning = true; k.drive() }

// observe asks the server.
func (k *keeper) observe() {
	sv, st, v, now := k.h.server, k.h.control.state, k.loop.View(), k.h.clock()
	votes := free(v, now)
	if !votes && now.Before(k.seenAt.Add(calmLook)) {
		return
	}
	if sv == nil || !sv.alive || sv.frozen || !sv.ready || st == nil {
		if now.Sub(k.seenAt) > 5*time.Second {
			k.replayed = nil
		}
		return
	}
	k.seenAt, k.replayed = now, nil
	if sv.recovery {
		at := lsn.LSN(sv.replayed)
		k.replayed = &at
	}
	switch {
	case !votes:
	case st.Vote.IsZero() || st.Vote != v.Record.Version():
		k.position = position{}
	default:
		p := position{version: st.Vote, pid: sv.pid, at: lsn.LSN(sv.replayed)}
		end := sv.replayed == len(k.h.volume.wal) || k.s.broken.unknownIsKnown
		cut := sv.receiver == nil && sv.follows < 0 || k.s.broken.streamKept
		p.known = sv.recovery && end && cut && !sv.promote
		if p.known && sv.replayed > 0 {
			p.line = k.h.volume.wal[sv.replayed-1].line
		}
		k.position = p
	}
	if v.InForce(now) && sv.writable() && v.Record.Timeline == k.h.volume.wal.line() {
		k.tell(v.Record.Epoch)
	}
}

// tell gives the record what the leader knows.
func (k *keeper) tell(e epoch.Epoch) {
	w := k.h.volume.wal
	at, line, lines, telling, set := lsn.LSN(len(w)), w.line(), w.lines(), k.setter.telling, k.setter.told
	k.loop.Carry(lease.News{Record: func(r *record.Record) {
		if r.Epoch != e {
			return
		}
		r.LSN = at
		if line == r.Timeline {
			r.Opened, r.Lines = line, lines
		}
		switch {
		case telling && set == nil:
			r.Sync = nil
		case telling:
			r.Sync = &record.Sync{K: set.K, Members: set.Members}
		}
	}})
}

func (k *keeper) standing() judge.Standing {
	s := judge.Standing{Member: k.h.me.Member, Pod: k.h.me.Member, SystemID: systemID}
	if sv := k.h.server; k.replayed != nil && sv != nil && *k.replayed > 0 && int(*k.replayed) <= len(k.h.volume.wal) {
		s.Timeline = k.h.volume.wal[*k.replayed-1].line
	}
	if k.h.clock().Before(k.unfitUntil) {
		s.Unfit = "it gave the right up"
	}
	st := k.h.control.state
	if st == nil || k.h.clock().Sub(st.Beat) > 3*time.Second || st.Server != grant.Standby {
		s.Problem = "no standby runs"
		return s
	}
	s.Version = st.Vote
	p := k.position
	if s.Known = p.known && p.pid == st.LastPID && (p.version == st.Vote || k.s.broken.positionOfBefore); s.Known {
		s.Timeline, s.Position = p.line, p.at
	}
	if k.s.broken.unvotedCount && k.replayed != nil { // whoever is asked tells where it is, vote or not
		s.Known, s.Position = true, *k.replayed
	}
	if s.Problem = "not shown yet"; s.Known {
		s.Problem = ""
	}
	return s
}

// judge is keeping.judgeOnce.
func (k *keeper) judge() {
	if k.todo != nil || k.did != nil {
		return // it waits for an order to be carried out
	}
	if v := k.loop.View(); k.s.broken.vacatedRunning && k.handover != nil && k.handover.Unclean && v.InForce(k.h.clock()) {
		k.vacate()
		return
	}
	if v := k.loop.View(); k.s.broken.releasedRunning && k.handover != nil && v.InForce(k.h.clock()) {
		k.release(judge.Verdict{Record: v.Record})
		return
	}
	v := judge.Judge(k.gather())
	if !v.Keep {
		k.issue(v.Grant, v.Fence)
	}
	switch v.Do {
	case judge.Take:
		k.reigns++
		v.Record.Reign = fmt.Sprintf("%s.%d.%d", k.h.me.Pod, k.life, k.reigns)
		if k.s.broken.fewerHeard {
			v.Record.Sync = k.loop.View().Record.Sync
		}
		k.s.note("member %d: %s", k.h.id, v.Reason)
		k.command(func(b lease.ByHand) error { return b.Take(context.Background(), v.Version, v.Record) }, func(error) {})
	case judge.Release:
		k.release(v)
	}
}

func (k *keeper) command(order func(lease.ByHand) error, done func(error)) {
	k.todo = order
	k.did = func(err error) {
		k.did = nil
		done(err)
		k.s.after(0, &k.process, k.judge)
	}
	k.drive()
}

// release proves that no server is left and keeps any from starting until the record is given back.
func (k *keeper) release(v judge.Verdict) {
	h := k.h
	running := h.server != nil && h.server.alive || h.guard.preparing
	if !k.s.broken.releasedRunning {
		if running {
			return
		}
		switch unclean := k.handover != nil && k.handover.Unclean; {
		case !h.volume.clean && unclean:
			k.vacate()
			return
		case !h.volume.clean:
			k.handover = nil
			return
		}
	}
	final := lsn.LSN(len(h.volume.wal) - 1)
	h.keeperLock = true
	k.s.note("member %d releases at %d", h.id, final)
	k.command(func(b lease.ByHand) error { return b.Release(context.Background(), final, v.Record.Heir) }, func(err error) {
		h.keeperLock = false
		if err == nil {
			k.s.facts.handovers++
		}
		k.handover = nil
	})
}

// vacate gives the record up without a final position.
func (k *keeper) vacate() {
	h := k.h
	h.keeperLock = true
	k.s.note("member %d gives the right up", h.id)
	k.command(func(b lease.ByHand) error { return b.Vacate(context.Background()) }, func(err error) {
		h.keeperLock = false
		if err == nil {
			k.s.facts.givenUp++
		}
		k.handover = nil
	})
}
