package keeping

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// switchoverLag is how many bytes of WAL a successor may lack when the shutdown begins, which waits until it has them.
	switchoverLag = 16 << 20
	// stragglerLimit is how long walsenders may take to bring their receivers to the checkpoint before they are ended (SAFETY D33).
	stragglerLimit = time.Second
	// switchoverLimit is how long the shutdown of a switchover may take before it is called off. It is longer than wal_sender_timeout.
	switchoverLimit = 10 * time.Second
)

// attempt is a switchover that this process has begun. It is kept until the intent is settled: a leader that finds itself leading in the
// same epoch after one was called off says so, and does not begin again.
type attempt struct {
	intent    string
	calledOff string
}

// intend brings the open intent of the record forward, if this member leads: by a hand-over, or by saying what has become of it.
func (k *Keeper) intend(ctx context.Context, o *pg.Observer) error {
	v, n := k.view(), k.look()
	if p := v.Record.Pause; p != nil && p.ID == n.lifted && v.InForce(boottime.Now()) {
		return k.resume(ctx, p.ID) // it was lifted while nobody led
	}
	if word, fenced := v.Record.FencedMember(k.me().Member); fenced && v.InForce(boottime.Now()) {
		return k.unfence(ctx, []string{word.Name()}) // so was its fence
	}
	i, open := v.Record.OpenIntent()
	if !open || !v.InForce(boottime.Now()) || n.state == nil || n.state.Server != grant.Writable || n.handover != nil || n.state.Ending {
		return nil
	}
	var next []judge.Successor
	if i.Epoch == v.Record.Epoch {
		limited, cancel := context.WithTimeout(ctx, 2*askLimit)
		next = k.successors(limited, o, v.Record)
		cancel()
	}
	answer := judge.Intent(k.asked(v, i, next))
	if answer.Reason != n.intentSaid {
		k.log.Info("intent judged", "id", i.ID, "kind", i.Kind, "reason", answer.Reason)
		k.change(func(n *known) { n.intentSaid = answer.Reason })
	}
	switch answer.Deed {
	case judge.Finish:
		o.Close()
		return k.settle(ctx, i, record.Done, answer.Reason)
	case judge.Refuse:
		o.Close()
		return k.settle(ctx, i, record.Refused, answer.Reason)
	case judge.HandOver:
		return k.switchOver(ctx, o, i, answer)
	}
	return nil
}

// asked gathers what a verdict on an intent rests on.
func (k *Keeper) asked(v lease.View, i record.Intent, next []judge.Successor) judge.Asked {
	n, now := k.look(), boottime.Now()
	a := judge.Asked{
		Intent: i, Left: time.Duration(i.Left) - v.Unchanged(now), Record: v.Record, Pod: k.o.Pod, Member: k.me().Member,
		Leads:  v.InForce(now) && n.state != nil && n.state.Server == grant.Writable,
		Opened: v.Record.Opened == v.Record.Timeline, PauseLeft: judge.PauseLeft(v.Record, v.Unchanged(now), n.lifted),
		Successors: next, MaxLag: switchoverLag,
	}
	if n.attempt.intent == i.ID {
		a.CalledOff = n.attempt.calledOff
	}
	return a
}

// settle writes into the record what has become of an intent.
func (k *Keeper) settle(ctx context.Context, i record.Intent, s record.State, outcome string) error {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	err := k.loop.Load().Change(ctx, func(r *record.Record) error {
		r.Settle(i.ID, s, outcome)
		if i.Kind == record.FenceLeader && s == record.Done && i.FromID != r.Holder.Member {
			r.Fence(record.Fenced{ID: i.ID, Member: i.FromID, Pod: i.From, Reason: i.Reason})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note what became of the %s %s: %w", i.Kind, i.ID, err)
	}
	k.log.Info("intent settled", "id", i.ID, "kind", i.Kind, "state", s, "reason", outcome)
	k.events.Tell(s == record.Refused, map[record.State]string{record.Done: "SwitchoverDone", record.Refused: "SwitchoverRefused"}[s], outcome)
	k.tellPeers(context.WithoutCancel(ctx), k.view().Record)
	return nil
}

// resume takes a pause out of the record.
func (k *Keeper) resume(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	err := k.loop.Load().Change(ctx, func(r *record.Record) error {
		if r.Pause != nil && r.Pause.ID == id {
			r.Pause = nil
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("end the pause %s: %w", id, err)
	}
	return nil
}

// unfence takes fences off the record that were lifted while nobody led.
func (k *Keeper) unfence(ctx context.Context, lifted []string) error {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	err := k.loop.Load().Change(ctx, func(r *record.Record) error {
		r.Fenced = slices.DeleteFunc(r.Fenced, func(f record.Fenced) bool { return slices.Contains(lifted, f.Name()) })
		return nil
	})
	if err != nil {
		return fmt.Errorf("take lifted fences off the record: %w", err)
	}
	k.log.Info("fences that were lifted while nobody led are off the record", "ids", lifted)
	return nil
}

// liftedFences are the names of fences in r that their members say were lifted.
func liftedFences(r record.Record, answers map[string]peers.Answer) []string {
	var out []string
	for _, f := range r.Fenced {
		if a := answers[f.Member]; a.Err == nil && a.Standing.Unfenced == f.Name() {
			out = append(out, f.Name())
		}
	}
	return out
}

// successors asks the other members and the server how each could follow. What cannot be found out is a problem of that member's.
func (k *Keeper) successors(ctx context.Context, o *pg.Observer, r record.Record) []judge.Successor {
	answers := k.peers.Ask(ctx, r.Members, k.me().Member, askLimit)
	var end lsn.LSN
	senders, err := o.Senders(ctx)
	if err == nil {
		end, err = o.End(ctx)
	}
	return successorsOf(r, k.me().Member, answers, senders, end, err)
}

// successorsOf joins what a member says with what its upstream sees of it.
func successorsOf(r record.Record, me string, answers map[string]peers.Answer, senders []pg.Sender, end lsn.LSN, unasked error) []judge.Successor {
	var out []judge.Successor
	for _, m := range r.Members {
		if m.ID == me {
			continue
		}
		a := answers[m.ID]
		s := judge.Successor{Member: m.ID, Pod: m.Pod, Priority: a.Standing.Priority}
		name := judge.SlotName(m.ID)
		var sender *pg.Sender
		for i := range senders {
			if senders[i].Name == name && senders[i].State == "streaming" {
				sender = &senders[i]
			}
		}
		_, fenced := r.FencedMember(m.ID)
		switch {
		case fenced:
			s.Barred = "it is fenced by hand"
		case a.Err != nil:
			s.Problem = "it was not heard: " + a.Err.Error()
		case a.Standing.Me.Member == "":
			s.Problem = "it was not asked"
		case !a.Standing.MayWin:
			if s.Barred = a.Standing.Problem; s.Barred == "" {
				s.Barred = "it says that it may not"
			}
		case unasked != nil:
			s.Problem = unasked.Error()
		case sender == nil || !a.Standing.Streaming:
			s.Problem = "it does not stream"
		case sender.Flushed == nil || sender.Replayed == nil:
			s.Problem = "how far it has come is not known"
		default:
			s.Lag = max(0, end.Sub(min(*sender.Flushed, *sender.Replayed)))
		}
		out = append(out, s)
	}
	return out
}

// switchOver prepares a hand-over so that the shutdown is short, and begins it if the heir is still fit then.
func (k *Keeper) switchOver(ctx context.Context, o *pg.Observer, i record.Intent, to judge.Answer) error {
	began := boottime.Now()
	if err := k.prepare(ctx, o, to.Heir); err != nil {
		return fmt.Errorf("prepare the %s to %s: %w", i.Kind, to.Pod, err) // tried again until its time is over
	}
	v := k.view()
	limited, cancel := context.WithTimeout(ctx, 2*askLimit)
	chosen := i
	chosen.Target = to.Pod // of two that are equally good the other one may have less to receive by now
	again := judge.Intent(k.asked(v, chosen, k.successors(limited, o, v.Record)))
	cancel()
	if again.Deed != judge.HandOver || again.Heir != to.Heir {
		return fmt.Errorf("prepare the %s to %s: meanwhile: %s", i.Kind, to.Pod, again.Reason)
	}
	o.Close()
	reason := fmt.Sprintf("%s %s: handing over to %s", i.Kind, i.ID, to.Pod)
	k.log.Info("handing over", "heir", to.Pod, "reason", reason, "prepared", boottime.Now().Sub(began).String())
	k.change(func(n *known) {
		n.handsOver(judge.Handover{Heir: to.Heir, Reason: reason}, v.Record.Epoch, switchoverLimit, began, boottime.Now())
		n.attempt = attempt{intent: i.ID}
	})
	k.judgeWake.up()
	return nil
}

// prepare makes the shutdown of a hand-over short: a checkpoint, and nobody left for whom it would wait.
func (k *Keeper) prepare(ctx context.Context, o *pg.Observer, heir string) error {
	limited, cancel := context.WithTimeout(ctx, checkpointLimit)
	defer cancel()
	if err := o.Checkpoint(limited); err != nil {
		return err
	}
	return k.endStragglers(ctx, o, heir)
}

// endStragglers gives all receivers a moment to confirm what the checkpoint wrote and ends the walsenders of those that did not, for whom the
// shutdown would wait. The heir is no straggler: without it there is no hand-over.
func (k *Keeper) endStragglers(ctx context.Context, o *pg.Observer, heir string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*stragglerLimit)
	defer cancel()
	at, err := o.End(ctx)
	if err != nil {
		return err
	}
	until := boottime.Now().Add(stragglerLimit)
	for {
		left, err := o.Stragglers(ctx, at)
		if err != nil || len(left) == 0 {
			return err
		}
		if boottime.Now().Before(until) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		for _, s := range left {
			if s.Name == judge.SlotName(heir) {
				return fmt.Errorf("it has not confirmed %s within %s", at, stragglerLimit)
			}
			k.log.Warn("walsender ended before the switchover", "receiver", s.Name, "state", s.State)
			if err := o.Terminate(ctx, s.PID); err != nil {
				return err
			}
		}
		return nil
	}
}

// SiteStatus is what this keeper knows, for people.
func (k *Keeper) SiteStatus() peers.Status {
	n, v, now, s := k.look(), k.view(), boottime.Now(), k.Snapshot()
	out := peers.Status{
		Me: k.me(), Pod: k.o.Pod, Role: string(s.Role()), Leads: v.InForce(now), Published: n.published, Timeline: s.Timeline,
		LagBytes: s.Lag.Bytes, LagSeconds: s.Lag.Seconds, Reason: s.Reason, Person: s.Person, Known: v.Known.String(),
		Alarms: s.SecondLine.Alarms(),
	}
	if s.Server != nil {
		out.Streaming, out.Paused, out.Run = s.Server.Receiver.Streaming(), s.Server.ReplayPaused, runOf(*s.Server)
	}
	if s.Figures != nil {
		out.Pending, out.Unusable = s.Figures.PendingRestart, s.Figures.Unusable
	}
	if n.state != nil && !n.standsStale() {
		out.Phase, out.Server, out.Settings, out.Raised = n.state.Phase, n.state.Server, n.goesBy(), n.state.Raised
	}
	out.Rollout = n.rolloutSaid
	if v.Known == lease.Present {
		r := v.Record.Clone()
		out.Record = &r
		out.PauseLeft = record.Duration(judge.PauseLeft(r, v.Unchanged(now), n.lifted))
	}
	return out
}
