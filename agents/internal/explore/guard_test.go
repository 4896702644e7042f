package explore

import (
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/guarding"
)

// control is the pod's memory volume: what keeper grants, and what guard reports.
type control struct {
	grant *grant.Grant
	state *grant.State
}

// guard is the model of package guarding around its decisions. The fence is exact: at its deadline the server is killed, and dies a
// little later; what a frozen guard has to do, it does when it thaws.
type guard struct {
	process
	h      *host
	newest *grant.Grant
	seen   uint64

	server    *server
	kind      grant.Server
	reign     guarding.Reign
	following guarding.Following
	deadline  boottime.Instant // of the fence; 0: nothing to fence
	fired     bool
	stopping  bool
	killAt    boottime.Instant
	preparing bool
	retry     boottime.Instant
	failures  int
	holdUntil boottime.Instant
}

const (
	stopTime   = 3 * time.Second // of a fast shutdown, before it becomes a kill
	worstDeath = 250 * time.Millisecond
)

func (h *host) bootGuard() {
	g := &guard{process: process{s: h.s, rate: h.rate}, h: h, kind: grant.Down}
	h.guard = g
	if old := h.control.state; old != nil {
		g.seen = old.Seq
	}
	g.start()
	g.report(func(st *grant.State) {
		st.Phase, st.Server, st.Vote, st.Volume = grant.Waiting, grant.Down, epoch.Version{}, h.volume.found()
	})
	g.every(100*time.Millisecond, g.look)
}

func (g *guard) every(d time.Duration, do func()) {
	g.s.after(d, &g.process, func() {
		do()
		g.every(d, do)
	})
}

func (g *guard) me() grant.Incarnation { return grant.Incarnation{Pod: g.h.me.Pod, Boot: g.h.me.Boot} }

// report replaces the state.
func (g *guard) report(change func(*grant.State)) {
	st := grant.State{Format: grant.Format, Writer: "guard", Pod: g.h.me.Pod}
	if old := g.h.control.state; old != nil {
		st = *old
	}
	change(&st)
	st.Beat = g.h.clock()
	if g.newest != nil {
		st.Seq = max(st.Seq, g.newest.Seq)
	}
	old := g.h.control.state
	g.h.control.state = &st
	if k := g.h.keeper; k != nil && (old == nil || old.Phase != st.Phase || old.Server != st.Server || old.Vote != st.Vote) {
		g.s.after(5*time.Millisecond, &k.process, k.judge)
	}
}

// read takes the grant as it is now.
func (g *guard) read() {
	next := g.h.control.grant
	if next == nil {
		return
	}
	if ok, _ := guarding.Accept(*next, g.me(), g.seen); !ok {
		return
	}
	g.seen, g.newest = next.Seq, next
	if d, ok := guarding.Renewal(*next, g.reign); ok {
		g.extend(d)
	}
}

// arm, extend and fire are package fence.
func (g *guard) arm(deadline boottime.Instant) {
	g.deadline = max(deadline, 1)
	g.watch()
}

func (g *guard) extend(deadline boottime.Instant) {
	if g.deadline == 0 || g.fired || !g.h.clock().Before(g.deadline) {
		return
	}
	g.deadline = max(deadline, 1)
	g.watch()
}

func (g *guard) watch() {
	g.s.after(g.deadline.Sub(g.h.clock()), &g.process, func() {
		if g.deadline != 0 && !g.fired && !g.h.clock().Before(g.deadline) {
			g.fire()
		}
	})
}

func (g *guard) fire() {
	if g.s.broken.neverFenced {
		return
	}
	g.fired = true
	sv := g.server
	if sv == nil {
		return
	}
	g.s.note("member %d is fenced in %s", g.h.id, g.reign)
	g.s.after(g.s.jitter(20*time.Millisecond, worstDeath), nil, func() { sv.die() })
}

// look is one turn of guard's loop.
func (g *guard) look() {
	g.read()
	g.report(func(*grant.State) {})
	if g.server == nil {
		g.idle()
		return
	}
	if !g.server.alive {
		g.bury()
		return
	}
	if g.fired {
		return
	}
	v := &g.h.volume
	if n := g.newest; n != nil {
		v.note.See(n.Epoch)
		if n.Vote && n.Version.Newer(v.note.Vote) && !g.s.broken.voteNotNoted {
			v.note.Vote = n.Version
		}
	}
	action, _ := guarding.Next(g.facts())
	switch action {
	case guarding.Follow:
		g.follow(g.newest.Bound(g.vote()))
	case guarding.Promote:
		g.promote(*g.newest)
	case guarding.Stop:
		g.stop()
	case guarding.Fence:
		g.fire()
	}
	vote := epoch.Version{}
	if g.kind == grant.Standby && (g.following.Upstream.Member == "" || g.s.broken.streamKept) {
		vote = v.note.Vote
		if n := g.newest; n != nil && n.Vote && g.s.broken.voteNotNoted {
			vote = n.Version
		}
	}
	kind, phase := g.kind, grant.Starting
	switch {
	case g.stopping:
		phase = grant.Stopping
	case g.server.ready:
		phase = grant.Running
	}
	if st := g.h.control.state; st.Vote != vote || st.Server != kind || st.Phase != phase {
		g.report(func(st *grant.State) { st.Vote, st.Server, st.Phase = vote, kind, phase })
	}
}

func (g *guard) vote() epoch.Version { return g.h.volume.note.Vote }

func (g *guard) facts() guarding.Facts {
	f := guarding.Facts{
		Now: g.h.clock(), Grant: g.newest, Server: g.kind, Reign: g.reign, Following: g.following, Signal: g.h.volume.signal,
		SystemID: systemID, Vote: g.vote(), Stopping: g.stopping, Retry: g.retry, FenceAfter: timing.FenceAfter,
	}
	if g.server != nil {
		f.Ready = g.server.ready
		f.Overdue = g.stopping && !f.Now.Before(g.killAt)
	}
	if f.Now.Before(g.holdUntil) {
		f.Hold, f.HoldUntil = "given up", g.holdUntil
	}
	if g.s.broken.streamKept && f.Grant != nil && f.Grant.Vote {
		f.Following = guarding.FollowingOf(*f.Grant)
	}
	return f
}

func (g *guard) upstream() int {
	if g.following.Upstream.Member == "" {
		return -1
	}
	return hostOf(g.following.Upstream.Member)
}

func (g *guard) follow(to grant.Grant) {
	g.following = guarding.FollowingOf(to)
	sv := g.server
	g.h.rendered = g.upstream()
	// A reload takes what is in the files by then.
	g.s.after(g.s.jitter(10*time.Millisecond, 200*time.Millisecond), &sv.process, func() { sv.configure(g.h.rendered) })
}

// promote is guarding's: note, arm, look again, tell the server.
func (g *guard) promote(to grant.Grant) {
	v, sv := &g.h.volume, g.server
	if to.Epoch.Compare(v.note.HighestEpoch) < 0 || to.Timeline <= max(v.wal.line(), v.note.PrimaryLine) {
		g.holdUntil = g.h.clock().Add(2 * time.Second)
		return
	}
	reign := guarding.ReignOf(to)
	v.note.Reign(to.Epoch, to.Reign, to.Timeline)
	g.kind, g.reign = grant.Promoting, reign
	if !g.s.broken.promotedUnfenced {
		g.arm(to.Deadline)
	}
	g.read()
	if n := g.newest; n.Role != grant.Primary || guarding.ReignOf(*n) != reign {
		g.kind, g.reign, g.deadline = grant.Standby, guarding.Reign{}, 0
		g.holdUntil = g.h.clock().Add(2 * time.Second)
		return
	}
	line := to.Timeline
	if g.s.broken.lineNotReserved {
		line = v.wal.line() + 1 // what PostgreSQL does by itself
	}
	sv.promote, sv.reign = true, reign
	sv.hangUp()
	g.s.after(g.s.jitter(50*time.Millisecond, 500*time.Millisecond, 7*time.Second), &sv.process, func() {
		sv.open(line, func() {
			g.s.after(10*time.Millisecond, &g.process, func() {
				if g.server == sv && sv.alive {
					g.kind = grant.Writable
					if g.s.broken.promotedUnfenced && g.newest.Role == grant.Primary {
						g.arm(g.newest.Deadline)
					}
					g.report(func(st *grant.State) { st.Volume = v.found(); st.Server = grant.Writable })
				}
			})
		})
	})
}

func (g *guard) stop() {
	g.stopping, g.killAt = true, g.h.clock().Add(stopTime)
	sv := g.server
	g.s.after(10*time.Millisecond, &sv.process, func() { sv.shutDown(sv.die) })
}

// bury reports the end of the server: no process of it is left.
func (g *guard) bury() {
	if !g.stopping && !g.fired {
		g.failures++
	}
	g.server, g.kind, g.reign, g.deadline, g.fired, g.stopping, g.following = nil, grant.Down, guarding.Reign{}, 0, false, false, guarding.Following{}
	g.retry = g.h.clock().Add(time.Duration(min(g.failures, 5)) * 200 * time.Millisecond)
	g.report(func(st *grant.State) {
		st.Phase, st.Server, st.Vote, st.Volume = grant.Stopped, grant.Down, epoch.Version{}, g.h.volume.found()
	})
}
