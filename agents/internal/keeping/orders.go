package keeping

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// intentLimit is how long an intent may wait unless more is asked, mostIntent the most that can be.
	intentLimit = 2 * time.Minute
	mostIntent  = time.Hour
	// mostPause is the longest pause. Nobody takes over meanwhile, and nobody should forget that for weeks.
	mostPause = 7 * 24 * time.Hour
)

// errRefused carries a leader's no out of a change of the record.
type errRefused struct{ reason string }

func (e errRefused) Error() string { return e.reason }

// Order carries out what a person asks, if this keeper leads, and passes it on to the leader otherwise.
func (k *Keeper) Order(ctx context.Context, verb peers.Verb, o peers.Order) peers.Receipt {
	v := k.view()
	switch verb {
	case peers.Resume:
		k.lift(v)
	case peers.Unfence:
		k.liftFence(v, o.Pod)
	}
	if v.InForce(boottime.Now()) {
		r := k.obey(ctx, v, verb, o)
		r.Leader = k.o.Pod
		k.log.Info("asked", "verb", verb, "id", o.ID, "pod", o.Pod, "from", o.From, "for", o.For.String(), "dryRun", o.DryRun, "state", r.State, "reason", r.Reason)
		return r
	}
	leader, named := v.Record.Leader()
	switch {
	case v.Known != lease.Present || !named || v.Record.Free() || v.Expired(boottime.Now()) || leader.ID == k.me().Member:
		return peers.Receipt{State: peers.Unavailable, Reason: "no member leads, as far as " + k.o.Pod + " knows"}
	case o.Forwarded:
		return peers.Receipt{State: peers.Unavailable, Reason: fmt.Sprintf("%s does not lead; as far as it knows %s does", k.o.Pod, leader.Pod)}
	}
	o.Forwarded = true
	// A connection of its own: those between keepers are for elections, one exchange at a time.
	c := peers.NewClient(peers.ClientOptions{TLSDir: k.o.TLS, Log: k.log})
	defer c.Close()
	r, err := c.Order(ctx, leader, verb, o)
	if err != nil {
		return peers.Receipt{State: peers.Unavailable, Reason: fmt.Sprintf("%s passed it on: %v", k.o.Pod, err)}
	}
	return r
}

// lift ends a pause for this member although nobody may lead who could write that.
func (k *Keeper) lift(v lease.View) {
	if p := v.Record.Pause; v.Known == lease.Present && p != nil {
		k.log.Info("pause lifted by a person", "id", p.ID)
		k.change(func(n *known) { n.lifted = p.ID })
		k.judgeWake.up()
	}
}

// liftFence ends this member's own fence although nobody leads who could write that: it may hold the last copy.
func (k *Keeper) liftFence(v lease.View, pod string) {
	if word, fenced := v.Record.FencedMember(k.me().Member); pod == k.o.Pod && fenced && free(v, boottime.Now()) {
		k.log.Info("fence lifted by a person while nobody leads", "id", word.Name())
		k.change(func(n *known) { n.unfenced = word.Name() })
		k.judgeWake.up()
	}
}

// obey is for the leader.
func (k *Keeper) obey(ctx context.Context, v lease.View, verb peers.Verb, o peers.Order) peers.Receipt {
	switch verb {
	case peers.Switchover:
		return k.askedSwitchover(ctx, v, o, record.Switchover)
	case peers.Pause:
		if o.For <= 0 || time.Duration(o.For) > mostPause {
			return refused(fmt.Sprintf("a pause lasts up to %s, and has an end", mostPause))
		}
		return k.amend(ctx, o, fmt.Sprintf("elections and switchovers are paused for %s", o.For), func(r *record.Record) error {
			if i, open := r.OpenIntent(); open {
				return errRefused{fmt.Sprintf("the %s %s is not finished", i.Kind, i.ID)}
			}
			if r.Pause == nil || r.Pause.ID != o.ID {
				r.Pause = &record.Pause{ID: o.ID, Reason: o.Reason, Left: o.For}
			}
			return nil
		})
	case peers.Resume:
		return k.amend(ctx, o, "elections and switchovers are not paused", func(r *record.Record) error {
			r.Pause = nil
			return nil
		})
	case peers.Fence:
		return k.askedFence(ctx, v, o)
	case peers.Rollout:
		return k.askedRollout(ctx, v, o)
	case peers.Unfence:
		return k.amend(ctx, o, o.Pod+" is not fenced", func(r *record.Record) error {
			for _, f := range r.Fenced {
				if f.Pod == o.Pod {
					r.Unfence(f.Member)
					return nil
				}
			}
			return memberOf(*r, o.Pod, new(record.Member))
		})
	}
	return refused(fmt.Sprintf("this release cannot %s", verb))
}

func refused(reason string) peers.Receipt {
	return peers.Receipt{State: peers.Refused, Reason: reason}
}

// memberOf finds a member's pod. One that is away can be fenced, too.
func memberOf(r record.Record, pod string, into *record.Member) error {
	for _, m := range r.Known() {
		if m.Pod == pod {
			*into = m
			return nil
		}
	}
	return errRefused{fmt.Sprintf("there is no member %q", pod)}
}

// amend changes the record by one write and says so once it is confirmed.
func (k *Keeper) amend(ctx context.Context, o peers.Order, done string, f func(*record.Record) error) peers.Receipt {
	v := k.view()
	try := v.Record.Clone()
	if err := f(&try); err != nil {
		return refused(err.Error())
	}
	if o.DryRun {
		return peers.Receipt{State: peers.Would, Reason: "it would be so: " + done}
	}
	l := k.loop.Load()
	if l == nil {
		return peers.Receipt{State: peers.Unavailable, Reason: "the record is not known yet"}
	}
	err := l.Change(ctx, f)
	var no errRefused
	switch {
	case errors.As(err, &no):
		return refused(no.reason)
	case err != nil:
		return peers.Receipt{State: peers.Unavailable, Reason: "whether the record was changed is not known: " + err.Error()}
	}
	k.tellPeers(context.WithoutCancel(ctx), l.View().Record)
	k.handWake.up()
	return peers.Receipt{State: peers.Done, Reason: done}
}

// askedSwitchover takes an intent into the record, or says why not. What it will come to is judged at once, so that nobody waits for a no.
func (k *Keeper) askedSwitchover(ctx context.Context, v lease.View, o peers.Order, kind record.Kind) peers.Receipt {
	admitted := judge.Admit(v.Record, o.ID, o.Epoch)
	switch {
	case admitted.Known != nil:
		return reportOf(*admitted.Known)
	case admitted.Refused != "":
		return refused(admitted.Refused)
	case o.From != "" && o.From != k.o.Pod:
		if err := memberOf(v.Record, o.From, new(record.Member)); err != nil {
			return refused(err.Error())
		}
		return peers.Receipt{State: peers.Done, Reason: fmt.Sprintf("%s does not lead, %s does, in epoch %s", o.From, k.o.Pod, v.Record.Epoch)}
	case time.Duration(o.For) > mostIntent:
		return refused(fmt.Sprintf("it may wait up to %s", mostIntent))
	}
	i := record.Intent{
		ID: o.ID, Kind: kind, Epoch: v.Record.Epoch, From: k.o.Pod, FromID: k.me().Member, Target: o.Pod, Reason: o.Reason, Left: o.For, State: record.Open,
	}
	if i.Left == 0 {
		i.Left = record.Duration(intentLimit)
	}
	// A session of its own, since this runs beside the loops. A server that does not answer says so by no successor being fit.
	observer := pg.NewObserver(k.where)
	defer observer.Close()
	limited, cancel := context.WithTimeout(ctx, askLimit)
	asked := k.asked(v, i, k.successors(limited, observer, v.Record))
	asked.Left = time.Duration(i.Left) // it begins with the version that will hold it
	answer := judge.Intent(asked)
	cancel()
	switch {
	case answer.Deed == judge.Finish:
		return peers.Receipt{State: peers.Done, Reason: answer.Reason}
	case answer.Deed == judge.Refuse, o.DryRun && answer.Deed == judge.Leave:
		return refused(answer.Reason)
	case o.DryRun:
		return peers.Receipt{State: peers.Would, Reason: "would be " + answer.Reason}
	}
	r := k.amend(ctx, o, answer.Reason, func(r *record.Record) error {
		switch again := judge.Admit(*r, i.ID, i.Epoch); {
		case again.Refused != "":
			return errRefused{again.Refused}
		case again.Known == nil:
			r.Intend(i)
		}
		return nil
	})
	if r.State == peers.Done {
		r.State = peers.Accepted
	}
	return r
}

func reportOf(i record.Intent) peers.Receipt {
	switch i.State {
	case record.Done:
		return peers.Receipt{State: peers.Done, Reason: i.Outcome}
	case record.Refused:
		return refused(i.Outcome)
	default:
		return peers.Receipt{State: peers.Accepted, Reason: "it is under way"}
	}
}

// askedFence keeps a member stopped. The leader hands over first: it is listed as fenced by whoever leads next.
func (k *Keeper) askedFence(ctx context.Context, v lease.View, o peers.Order) peers.Receipt {
	if known, ok := v.Record.Intent(o.ID); ok {
		return reportOf(known)
	}
	var m record.Member
	if err := memberOf(v.Record, o.Pod, &m); err != nil {
		return refused(err.Error())
	}
	if m.ID == k.me().Member {
		o.Pod = ""
		return k.askedSwitchover(ctx, v, o, record.FenceLeader)
	}
	return k.amend(ctx, o, fmt.Sprintf("%s is to stay stopped", o.Pod), func(r *record.Record) error {
		if i, open := r.OpenIntent(); open {
			return errRefused{fmt.Sprintf("the %s %s is not finished", i.Kind, i.ID)}
		}
		r.Fence(record.Fenced{ID: o.ID, Member: m.ID, Pod: m.Pod, Reason: o.Reason})
		return nil
	})
}
