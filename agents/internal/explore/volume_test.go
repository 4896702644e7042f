package explore

import (
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/guarding"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/plan"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// volume is what outlives the pod.
type volume struct {
	wal    wal
	note   notes.Member
	signal bool // standby.signal
	clean  bool // shut down properly as a primary
}

func (v *volume) found() *grant.Volume {
	out := &grant.Volume{
		Noted: v.note.Member, SystemID: systemID, Timeline: v.wal.line(), WasPrimary: v.note.Primary, PrimaryLine: v.note.PrimaryLine,
		PrimaryReign: v.note.PrimaryReign, HighestEpoch: v.note.HighestEpoch, ClusterState: "in production", Checkpoint: lsn.LSN(1).String(),
	}
	if v.clean {
		out.ClusterState, out.Checkpoint = "shut down", lsn.LSN(len(v.wal)-1).String()
	}
	return out
}

// idle prepares and starts a server as the grant says.
func (g *guard) idle() {
	if action, _ := guarding.Next(g.facts()); action != guarding.Start || g.preparing || g.h.locked() {
		return
	}
	planned := g.newest.Bound(g.vote())
	g.preparing = true
	g.s.after(g.s.jitter(50*time.Millisecond, 400*time.Millisecond), &g.process, func() {
		g.preparing = false
		if g.server == nil && g.planned(planned) {
			g.begin(planned)
		}
	})
}

// planned is what plan says of a directory that is to follow: whoever is past the leader's fork is brought back first.
func (g *guard) planned(to grant.Grant) bool {
	v := &g.h.volume
	if v.note.HighestEpoch.Compare(to.Epoch) > 0 {
		return false
	}
	if to.Role != grant.Replica || to.Upstream == nil || to.Timeline == 0 {
		return true
	}
	if len(to.Lines) == 0 && to.Timeline > 1 && v.wal.line() != to.Timeline {
		return false // not known yet how the leader's timeline came about
	}
	where, _ := timeline.Relate(v.wal.line(), lsn.LSN(len(v.wal)), to.Timeline, to.Lines)
	if where == timeline.On {
		return true
	}
	up := g.s.hosts[hostOf(to.Upstream.Member)]
	if up.server == nil || !up.server.writable() || !g.s.net.linked(g.h.id, up.id) {
		return false
	}
	g.s.note("member %d is rewound from %d to %d", g.h.id, len(v.wal), v.wal.shared(up.volume.wal))
	v.wal, v.clean = slices.Clone(v.wal[:v.wal.shared(up.volume.wal)]), false
	return true
}

func (g *guard) begin(planned grant.Grant) {
	g.read()
	now, v := g.h.clock(), &g.h.volume
	n := g.newest
	if n == nil || n.Role != planned.Role || guarding.ReignOf(*n) != guarding.ReignOf(planned) || !n.Valid(g.me(), now) || g.h.locked() {
		return
	}
	data := pgdata.Facts{StandbySignal: v.signal, Control: &pgdata.Control{SystemID: systemID, Timeline: v.wal.line()}}
	writable, _ := plan.Writable(*n, g.me(), now, v.note, data)
	writable = writable && !v.signal
	if g.s.broken.signalForgotten && n.Role == grant.Primary {
		writable = true
	}
	g.kind, g.following = grant.Standby, guarding.FollowingOf(planned)
	if writable {
		g.kind, g.reign = grant.Writable, guarding.ReignOf(*n)
		g.arm(n.Deadline)
	} else {
		v.signal = true
	}
	v.clean = false
	g.server = boot(g.h, !writable, g.upstream())
	g.h.server = g.server
	if writable {
		g.server.reign = g.reign
		g.s.opened(g.server)
	}
	g.s.note("member %d starts as %s at %d on line %d, following %d", g.h.id, g.kind, len(v.wal), v.wal.line(), g.upstream())
	g.report(func(st *grant.State) {
		st.Phase, st.Server, st.LastPID = grant.Starting, g.kind, g.server.pid
	})
}
