package keeping

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

const (
	// checkpointLimit is what a checkpoint before a hand-over may take. What it has written by then, the shutdown need not write.
	checkpointLimit = 10 * time.Second
	// handoverLimit is after how long a hand-over that has given nothing away is undone (SAFETY D33): the server goes on as primary. It must be
	// longer than wal_sender_timeout, by which a shutdown gives up a standby that does not answer.
	handoverLimit = 30 * time.Second
	// killAfter is how long a server that is not well may take to shut down before its leader has it killed.
	killAfter = 10 * time.Second
)

// handing lets a leader whose pod ends hand over to the best member, before its server is shut down.
func (k *Keeper) handing() func(context.Context) error {
	o := pg.NewObserver(k.where)
	return func(ctx context.Context) error {
		n, v := k.look(), k.view()
		limit := cmp.Or(n.handoverLimit, handoverLimit)
		leads := v.InForce(boottime.Now()) && n.state != nil
		switch {
		case n.handover != nil && (!v.Mine || n.handoverEpoch != v.Record.Epoch):
			k.change(func(n *known) { n.handover = nil })
			return nil
		case n.handover != nil && n.handover.Unclean && n.state != nil && n.state.Server != grant.Down:
			if !n.handover.Kill && boottime.Now().Sub(n.handoverSince) > killAfter {
				k.log.Warn("the server that is to stop does not shut down: it is killed")
				kill := *n.handover
				kill.Kill = true
				k.change(func(n *known) { n.handover = &kill })
				k.judgeWake.up()
			}
			return nil // it cannot be taken back: its server is not well
		case n.handover != nil && boottime.Now().Sub(n.handoverSince) > limit && leads && n.state.Server != grant.Down && !n.state.Ending:
			why := fmt.Sprintf("the server did not shut down within %s", limit)
			k.log.Warn("hand-over undone", "reason", why)
			k.change(func(n *known) { n.handover, n.attempt.calledOff = nil, why })
			k.judgeWake.up()
			return nil
		case n.yields(v, boottime.Now()):
			return k.giveWay(ctx, o)
		case n.handover == nil && (n.state == nil || !n.state.Ending):
			return k.intend(ctx, o)
		case n.handover != nil || !leads || n.state.Server != grant.Writable || !n.state.Ending:
			return nil
		}
		return k.handOver(ctx, o, "the pod ends")
	}
}

// handsOver begins a hand-over of an epoch now. began is when it began to be prepared, limit after how long it is called off.
func (n *known) handsOver(h judge.Handover, e epoch.Epoch, limit time.Duration, began, now boottime.Instant) {
	n.handover, n.handoverEpoch, n.handoverLimit = &h, e, limit
	n.handoverSince, n.handoverPrepared = now, now.Sub(began)
}

// handOver chooses an heir, shortens the shutdown by a checkpoint, and has the judge stop the server.
func (k *Keeper) handOver(ctx context.Context, o *pg.Observer, reason string) error {
	began := boottime.Now()
	v := k.view()
	heir, pod := heirOf(k.peers.Ask(ctx, v.Record.Members, k.me().Member, askLimit))
	if judge.PauseLeft(v.Record, v.Unchanged(began), k.look().lifted) > 0 {
		heir, pod = "", "" // nobody takes it: this member comes back to it
	}
	if heir != "" {
		limited, cancel := context.WithTimeout(ctx, checkpointLimit)
		if err := o.Checkpoint(limited); err != nil {
			k.log.Warn("no checkpoint before the hand-over", "error", err)
		}
		cancel()
		reason = fmt.Sprintf("%s: handing over to %s", reason, pod)
	}
	o.Close()
	k.log.Info("handing over", "heir", pod, "reason", reason, "prepared", boottime.Now().Sub(began).String())
	k.change(func(n *known) {
		n.handsOver(judge.Handover{Heir: heir, Reason: reason}, v.Record.Epoch, handoverLimit, began, boottime.Now())
	})
	k.judgeWake.up()
	return nil
}

// heirOf chooses who is to follow: a member that streams and may win, the furthest one, then by priority. None: whoever holds the final
// position in the end.
func heirOf(answers map[string]peers.Answer) (id, pod string) {
	var able []peers.Standing
	for _, a := range answers {
		if a.Err == nil && a.Standing.Streaming && a.Standing.MayWin {
			able = append(able, a.Standing)
		}
	}
	if len(able) == 0 {
		return "", ""
	}
	best := slices.MinFunc(able, func(a, b peers.Standing) int {
		return cmp.Or(-cmp.Compare(a.Priority, b.Priority), -cmp.Compare(a.Received, b.Received), cmp.Compare(a.Me.Member, b.Me.Member))
	})
	return best.Me.Member, best.Pod
}
