package keeping

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// askEvery is between two rounds of questions while the record is free.
	askEvery = 100 * time.Millisecond
	// askLimit is how long an answer is waited for.
	askLimit = 500 * time.Millisecond
	// absurd is by how much no timeline can be ahead of the record's: the next reign's is above all that were heard, and they must not run out.
	absurd = 1000
)

// free reports whether the record can be taken by somebody.
func free(v lease.View, now boottime.Instant) bool {
	return v.Known == lease.Present && (v.Record.Free() || v.Expired(now))
}

// electing asks the other members how they stand while the record is free.
func (k *Keeper) electing() func(context.Context) error {
	var c *canvass
	return func(ctx context.Context) error {
		v := k.view()
		over := !free(v, boottime.Now())
		if c != nil && (over || c.version != v.Version) {
			c.end()
			c = nil
			k.change(func(n *known) { n.heard = nil })
		}
		if over {
			return nil
		}
		if c == nil {
			k.log.Info("the record is free, asking the members", "epoch", v.Record.Epoch.String(), "released", v.Record.Released)
			c = newCanvass(v.Version, k.standingOf(v.Record.Timeline), k.hear)
		}
		c.round(ctx, v.Record.Members, k.me().Member)
		return nil
	}
}

// standingOf asks one member how it stands to a record of timeline line.
func (k *Keeper) standingOf(line uint32) func(context.Context, record.Member) (judge.Standing, error) {
	return func(ctx context.Context, m record.Member) (judge.Standing, error) {
		s, err := k.peers.Standing(ctx, m)
		if err == nil && s.Timeline > line+absurd {
			err = fmt.Errorf("timeline %d of %s is not to be believed, the record's is %d", s.Timeline, m.Pod, line)
		}
		if err != nil {
			k.log.Debug("peer not heard", "member", m.ID, "error", err)
			return judge.Standing{}, err
		}
		return heardFrom(s), nil
	}
}

// hear notes what an election has heard by now, and has it judged.
func (k *Keeper) hear(heard []judge.Standing) {
	k.change(func(n *known) {
		n.heard = heard
		n.voters = n.votersWith(boottime.Now(), heard)
	})
	k.judgeWake.up()
}

// votersWith adds those whose positions are known now.
func (n known) votersWith(now boottime.Instant, heard []judge.Standing) map[string]boottime.Instant {
	out := map[string]boottime.Instant{}
	maps.Copy(out, n.voters)
	for _, s := range heard {
		if s.Known {
			out[s.Member] = now
		}
	}
	return out
}

func (k *Keeper) electEvery() time.Duration {
	v, now := k.view(), boottime.Now()
	switch {
	case free(v, now):
		return askEvery
	case v.Known == lease.Present && !v.Mine:
		return untilExpiry(v, now)
	default:
		return time.Second
	}
}

// untilExpiry is when to look again at a record that is not free: at the moment it may become so.
func untilExpiry(v lease.View, now boottime.Instant) time.Duration {
	left := time.Duration(v.Record.Duration) - v.Unchanged(now)
	return min(max(left, 10*time.Millisecond), 500*time.Millisecond)
}

func heardFrom(s peers.Standing) judge.Standing {
	out := judge.Standing{
		Member: s.Me.Member, Pod: s.Pod, SystemID: s.SystemID, Version: s.Version, Known: s.Known, Timeline: s.Timeline, Position: s.Position,
		Problem: s.Problem, Priority: s.Priority,
	}
	if !s.MayWin {
		if out.Barred = s.Problem; out.Barred == "" {
			out.Barred = "it says that it may not"
		}
	}
	return out
}

// Nudged is called when a peer says that the record has changed.
func (k *Keeper) Nudged(grant.Incarnation, epoch.Version) {
	if l := k.loop.Load(); l != nil {
		l.Nudge()
	}
}

// tellPeers says to all listed members that the record has changed. Nothing rests on it.
func (k *Keeper) tellPeers(ctx context.Context, r record.Record) {
	for _, m := range r.Members {
		if m.ID == k.me().Member {
			continue
		}
		go func() {
			if err := k.peers.Tell(ctx, m, k.me(), r.Version()); err != nil {
				k.log.Debug("peer not told", "pod", m.Pod, "error", err)
			}
		}()
	}
}
