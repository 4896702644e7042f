package keeping

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

// yieldAgain is how long a leader that gave way in vain goes on before it tries again: each time costs the clients a shutdown that does not end.
const yieldAgain = 10 * time.Minute

// yield is a leader's wish to give way to one of others, because they can write to the store and it cannot: it is healthy, and clients are led away
// from it, since its node reaches Kubernetes no more than it does (SAFETY D30).
type yield struct {
	epoch epoch.Epoch
	since boottime.Instant
	to    []string // member ids
}

// over reports whether nothing has been tried in an epoch yet, or long ago.
func (y yield) over(e epoch.Epoch, now boottime.Instant) bool {
	return y.epoch != e || now.Sub(y.since) >= yieldAgain
}

// yields reports whether this leader is to give way now.
func (n known) yields(v lease.View, now boottime.Instant) bool {
	y := n.yield
	return y != nil && y.epoch == v.Record.Epoch && v.InForce(now) && v.Trouble != "" && n.handover == nil && n.state != nil && n.state.Server == grant.Writable &&
		!n.state.Ending && judge.PauseLeft(v.Record, v.Unchanged(now), n.lifted) <= 0
}

// giveWay hands over to the best of those who can write to the store, prepared as a switchover is: whoever would hold up the shutdown would cost more than
// the API that is away.
func (k *Keeper) giveWay(ctx context.Context, o *pg.Observer) error {
	began, v, n := boottime.Now(), k.view(), k.look()
	able := n.yield.to
	k.change(func(n *known) { n.yield = nil })
	answers := k.peers.Ask(ctx, v.Record.Members, k.me().Member, askLimit)
	for id := range answers {
		if !slices.Contains(able, id) {
			delete(answers, id)
		}
	}
	heir, pod := heirOf(answers)
	if heir == "" {
		return nil
	}
	if err := k.prepare(ctx, o, heir); err != nil {
		return fmt.Errorf("prepare to give way to %s: %w", pod, err)
	}
	o.Close()
	reason := fmt.Sprintf("%s can write to the Kubernetes API and this leader cannot: handing over", pod)
	k.log.Warn("giving way", "heir", pod, "reason", reason, "prepared", boottime.Now().Sub(began).String())
	k.change(func(n *known) {
		if n.handover == nil && !n.state.Ending {
			n.handsOver(judge.Handover{Heir: heir, Reason: reason}, v.Record.Epoch, switchoverLimit, began, boottime.Now())
		}
	})
	k.judgeWake.up()
	return nil
}
