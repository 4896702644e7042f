package explore

import (
	"reflect"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
)

// issue and renewed are keeping's issuer.
func (k *keeper) issue(g grant.Grant, fence bool) {
	now, v := k.h.clock(), k.loop.View()
	switch {
	case g.Role == grant.Primary && (!v.InForce(now) || v.Record.Epoch != g.Epoch || v.Record.Reign != g.Reign || v.Record.Timeline != g.Timeline):
		return
	case g.Role == grant.Primary:
		g.Deadline = v.Deadline
	case g.Role == grant.Stop && fence:
		g.Deadline = now
		if k.last.Role == grant.Stop && k.last.Deadline != 0 && k.last.Epoch == g.Epoch {
			g.Deadline = min(now, k.last.Deadline)
		}
	case g.Role == grant.Stop && v.InForce(now) && v.Record.Epoch == g.Epoch:
		g.Deadline = v.Deadline
	}
	g.Holder, g.Format = k.h.me, grant.Format
	vote := epoch.Version{}
	if st := k.h.control.state; st != nil && !k.s.broken.versionForgotten {
		vote = st.Vote
	}
	k.write(g, k.last.Bound(vote).Upstream == nil && g.Bound(vote).Upstream != nil)
}

func (k *keeper) renewed(v lease.View) {
	g, now := k.last, k.h.clock()
	reign := g.Role == grant.Primary || g.Role == grant.Stop && g.Deadline != 0
	switch {
	case !reign:
		return
	case v.Mine && v.Record.Epoch == g.Epoch && v.Deadline != 0:
		if g.Role == grant.Stop && g.Deadline.Before(now) {
			return
		}
		g.Deadline = v.Deadline
		if k.s.broken.countedFromAnswer && v.Answered == now {
			g.Deadline = now.Add(timing.FenceAfter)
		}
	case g.Role == grant.Primary && v.Known == lease.Present && !v.Mine && now.Before(g.Deadline):
		g.Role, g.Deadline, g.Reason = grant.Stop, now, "another holder is recorded"
	default:
		return
	}
	k.write(g, false)
}

func (k *keeper) write(g grant.Grant, news bool) {
	if !news && g.Role == k.last.Role && sameWord(g, k.last) && k.last.Seq != 0 {
		if g.Deadline == k.last.Deadline {
			return
		}
		g.Seq = k.last.Seq
	} else {
		g.Seq = k.last.Seq + 1
	}
	if k.s.traced && g.Seq != k.last.Seq {
		k.s.note("member %d is told: %s (%s)", k.h.id, g.Role, g.Reason)
	}
	k.last = g
	written := g
	k.h.control.grant = &written
	if gd := k.h.guard; gd != nil {
		k.s.after(k.s.jitter(2*time.Millisecond, 50*time.Millisecond), &gd.process, gd.look)
	}
}

func sameWord(a, b grant.Grant) bool {
	a.Seq, b.Seq, a.Deadline, b.Deadline = 0, 0, 0, 0
	if !a.Vote {
		a.Version, b.Version = epoch.Version{}, epoch.Version{}
	}
	return reflect.DeepEqual(a, b)
}
