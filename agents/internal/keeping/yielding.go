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

// A leader that gave way in vain goes on for yieldAgain before it tries again: each time costs the clients a shutdown that does not end. What could not even
// be prepared has cost nobody anything, and is tried again after prepareAgain.
const (
	yieldAgain   = 10 * time.Minute
	prepareAgain = 5 * time.Second
)

// gaveWay is the last time that a leader gave way, or would have, and until when it does not again in that epoch.
type gaveWay struct {
	epoch epoch.Epoch
	until boottime.Instant
}

// yields reports whether this leader is to give way to one of those who can write to the store, because it cannot: it is healthy, and clients are led away
// from it, since its node reaches Kubernetes no more than it does (SAFETY D30).
func (n known) yields(v lease.View, now boottime.Instant) bool {
	return len(n.able) > 0 && v.InForce(now) && v.Trouble != "" && n.handover == nil && n.state != nil && n.state.Server == grant.Writable && !n.state.Ending &&
		(n.gaveWay.epoch != v.Record.Epoch || !now.Before(n.gaveWay.until)) && judge.PauseLeft(v.Record, v.Unchanged(now), n.lifted) <= 0
}

// giveWay hands over to the best of those who can write to the store, prepared as a switchover is: whoever would hold up the shutdown would cost more than
// the API that is away.
func (k *Keeper) giveWay(ctx context.Context, o *pg.Observer) error {
	began, v, able := boottime.Now(), k.view(), k.look().able
	again := func(d time.Duration) {
		k.change(func(n *known) { n.gaveWay = gaveWay{v.Record.Epoch, boottime.Now().Add(d)} })
	}
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
		again(prepareAgain)
		return fmt.Errorf("prepare to give way to %s: %w", pod, err)
	}
	o.Close()
	reason := fmt.Sprintf("%s can write to the Kubernetes API and this leader cannot: handing over", pod)
	again(yieldAgain)
	k.log.Warn("giving way", "heir", pod, "reason", reason, "prepared", boottime.Now().Sub(began).String())
	k.change(func(n *known) {
		if n.handover == nil && !n.state.Ending {
			n.handsOver(judge.Handover{Heir: heir, Reason: reason}, v.Record.Epoch, switchoverLimit, began, boottime.Now())
		}
	})
	k.judgeWake.up()
	return nil
}
