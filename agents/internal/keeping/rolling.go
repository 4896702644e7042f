package keeping

import (
	"context"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/publish"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/rollout"
)

const (
	// rolloutLimit is how long a rollout may stand still unless something else is asked for, mostRollout the most that can be.
	rolloutLimit = 10 * time.Minute
	mostRollout  = 24 * time.Hour
	// rolloutTime bounds one turn: a look at everything, a checkpoint, a change of the record, a deletion.
	rolloutTime = 30 * time.Second
)

// roller carries out the rollout of the record while this member leads. It is used by one goroutine; what it remembers is only for how long
// something has been so.
type roller struct {
	k        *Keeper
	peers    *peers.Client
	quiet    boottime.Instant            // since when nothing has been left to do
	unfit    map[string]boottime.Instant // since when each pod has not served as it should
	brought  string                      // the rollout and pods for which settings were asked for
	observer *pg.Observer
}

func (k *Keeper) rolling() func(context.Context) error {
	r := &roller{k: k}
	return func(ctx context.Context) error {
		v := k.view()
		order, open := v.Record.OpenRollout()
		if !open || !v.InForce(boottime.Now()) {
			r.rest()
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, rolloutTime)
		defer cancel()
		return r.turn(ctx, v, order)
	}
}

// rest: there is nothing to carry out here.
func (r *roller) rest() {
	if r.peers == nil {
		return
	}
	r.peers.Close()
	r.observer.Close()
	*r = roller{k: r.k}
	r.k.change(func(n *known) { n.rolloutSaid = "" })
}

// facts gathers what a verdict rests on.
func (r *roller) facts(ctx context.Context, v lease.View, order record.Rollout) rollout.Facts {
	if r.peers == nil { // connections of its own: those between keepers are for elections, one exchange at a time
		r.peers = peers.NewClient(peers.ClientOptions{TLSDir: r.k.o.TLS, Log: r.k.log})
		r.observer = pg.NewObserver(r.k.where)
		r.unfit = map[string]boottime.Instant{}
	}
	f := r.k.rolloutFacts(ctx, r.peers, r.observer, v, order)
	now := boottime.Now()
	for i := range f.Members {
		m := &f.Members[i]
		if m.Problem == "" {
			delete(r.unfit, m.Pod)
			continue
		}
		if r.unfit[m.Pod] == 0 {
			r.unfit[m.Pod] = now
		}
		m.For = now.Sub(r.unfit[m.Pod])
	}
	if r.quiet != 0 {
		f.Quiet = now.Sub(r.quiet)
	}
	return f
}

func (r *roller) turn(ctx context.Context, v lease.View, order record.Rollout) error {
	k := r.k
	f := r.facts(ctx, v, order)
	verdict := rollout.Judge(f)
	switch {
	case !verdict.Idle:
		r.quiet = 0
	case r.quiet == 0:
		r.quiet = boottime.Now()
	}
	if k.look().rolloutSaid != verdict.Reason {
		k.log.Info("rollout judged", "id", order.ID, "reason", verdict.Reason)
		k.change(func(n *known) { n.rolloutSaid = verdict.Reason })
	}
	switch verdict.Deed {
	case rollout.Begin:
		return r.begin(ctx, order, verdict)
	case rollout.Watch:
		return k.roll(ctx, order.ID, func(_ *record.Record, o *record.Rollout) error {
			o.Step.Watched, o.Step.Soak, o.Left = true, o.Soak, o.Limit
			return nil
		})
	case rollout.End:
		k.events.Tell(false, "RolloutStep", verdict.Reason)
		return k.roll(ctx, order.ID, func(_ *record.Record, o *record.Rollout) error {
			o.Soaked = o.Soaked || o.Step.Watched
			o.Step, o.Left = nil, o.Limit
			return nil
		})
	case rollout.SwitchOver:
		return k.roll(ctx, order.ID, k.switchFor)
	case rollout.Finish:
		return r.settle(ctx, order, record.Done, verdict.Reason)
	case rollout.Stop:
		return r.settle(ctx, order, record.Refused, verdict.Reason)
	}
	r.bring(ctx, f)
	return nil
}

// roll changes the open rollout of the record, by one compare-and-set.
func (k *Keeper) roll(ctx context.Context, id string, f func(*record.Record, *record.Rollout) error) error {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	err := k.loop.Load().Change(ctx, func(r *record.Record) error {
		if _, open := r.OpenRollout(); !open || r.Rollout.ID != id {
			return errRefused{"another one has taken its place"}
		}
		return f(r, r.Rollout)
	})
	if err != nil {
		return fmt.Errorf("note the rollout %s: %w", id, err)
	}
	k.tellPeers(context.WithoutCancel(ctx), k.view().Record)
	k.judgeWake.up()
	k.rollWake.up()
	return nil
}

// begin writes the step into the record, and only then deletes the pod. A server is restarted by its own keeper, which reads the record. A leader
// writes what it can beforehand, so that its shutdown is short.
func (r *roller) begin(ctx context.Context, order record.Rollout, verdict rollout.Verdict) error {
	k, step := r.k, verdict.Step
	if step.Member == k.me().Member {
		limited, cancel := context.WithTimeout(ctx, checkpointLimit)
		err := r.observer.Checkpoint(limited)
		cancel()
		if err != nil {
			k.log.Warn("no checkpoint before the restart", "error", err)
		}
	}
	if order.Step == nil {
		k.events.Tell(false, "RolloutStep", verdict.Reason)
		err := k.roll(ctx, order.ID, func(_ *record.Record, o *record.Rollout) error {
			if o.Step != nil {
				return errRefused{"a step is under way"}
			}
			o.Step, o.Left = &step, o.Limit
			return nil
		})
		if err != nil {
			return err
		}
	}
	if step.UID == "" {
		return nil
	}
	k.log.Info("pod is replaced", "pod", step.Pod, "uid", step.UID, "reason", step.Reason)
	return k.o.API.DeletePod(ctx, step.Pod, step.UID)
}

// switchFor makes the switchover of a rollout an intent like a person's, so that it is judged, limited and reported like any other.
func (k *Keeper) switchFor(r *record.Record, o *record.Rollout) error {
	id := switchID(*o, *r)
	if i, open := r.OpenIntent(); open {
		return errRefused{fmt.Sprintf("the %s %s is not finished", i.Kind, i.ID)}
	}
	if _, known := r.Intent(id); !known {
		r.Intend(record.Intent{
			ID: id, Kind: record.Switchover, Epoch: r.Epoch, From: k.o.Pod, FromID: k.me().Member, Reason: "rollout " + o.ID,
			Left: record.Duration(intentLimit), State: record.Open,
		})
		o.Left = o.Limit
	}
	k.handWake.up()
	return nil
}

// switchID names the switchover of a rollout in an epoch: there is one.
func switchID(o record.Rollout, r record.Record) string { return o.ID + "-" + r.Epoch.String() }

func (r *roller) settle(ctx context.Context, order record.Rollout, s record.State, outcome string) error {
	err := r.k.roll(ctx, order.ID, func(_ *record.Record, o *record.Rollout) error {
		o.State, o.Outcome, o.Left = s, outcome, 0
		return nil
	})
	if err != nil {
		return err
	}
	r.k.log.Info("rollout settled", "id", order.ID, "state", s, "reason", outcome)
	r.k.events.Tell(s == record.Refused, map[record.State]string{record.Done: "RolloutDone", record.Refused: "RolloutStopped"}[s], outcome)
	return nil
}

// bring has kubelet bring the new settings to pods that lack them: it looks for changes of a ConfigMap when the pod changes, and otherwise once in a
// minute or two. An annotation is such a change.
func (r *roller) bring(ctx context.Context, f rollout.Facts) {
	key, behind := f.Order.ID, []rollout.Member(nil)
	for _, m := range f.Members {
		if m.UID != "" && !m.Deleting && m.Settings != f.Order.Settings {
			key, behind = key+" "+m.UID, append(behind, m)
		}
	}
	if len(behind) == 0 || key == r.brought {
		return
	}
	r.brought = key
	for _, m := range behind {
		err := r.k.o.API.MarkPod(ctx, m.Pod, m.UID, kube.Marks{Annotations: map[string]*string{publish.AnnotationSettings: &f.Order.Settings}})
		if err != nil {
			r.k.log.Debug("settings are brought when kubelet looks for them", "pod", m.Pod, "error", err)
		}
	}
}

// askedRollout takes a rollout into the record, or says why not. One that is under way gives way to it, and its step goes on: whoever asks last knows
// best what the pods are to be.
func (k *Keeper) askedRollout(ctx context.Context, v lease.View, o peers.Order) peers.Receipt {
	switch {
	case v.Record.Rollout != nil && v.Record.Rollout.ID == o.ID:
		return rolloutReport(*v.Record.Rollout)
	case time.Duration(o.For) > mostRollout || time.Duration(o.Soak) > mostRollout:
		return refused(fmt.Sprintf("a rollout may stand still, and watch its first pod, for up to %s", mostRollout))
	}
	next := record.Rollout{ID: o.ID, Reason: o.Reason, Settings: o.Settings, Limit: o.For, Soak: o.Soak, State: record.Open}
	if next.Limit == 0 {
		next.Limit = record.Duration(rolloutLimit)
	}
	next.Left = next.Limit
	c := peers.NewClient(peers.ClientOptions{TLSDir: k.o.TLS, Log: k.log})
	defer c.Close()
	observer := pg.NewObserver(k.where)
	defer observer.Close()
	limited, cancel := context.WithTimeout(ctx, 2*askLimit)
	f := k.rolloutFacts(limited, c, observer, v, next)
	cancel()
	f.Quiet = time.Hour // there is no later look
	first := rollout.Judge(f)
	switch {
	case first.Deed == rollout.Stop:
		return refused(first.Reason)
	case f.PauseLeft > 0:
		return refused(fmt.Sprintf("rollouts are paused for another %s: \"role resume\" ends that", f.PauseLeft.Round(time.Second)))
	case o.DryRun && first.Deed == rollout.Finish:
		return peers.Receipt{State: peers.Would, Reason: "nothing would be done: " + first.Reason}
	case o.DryRun:
		return peers.Receipt{State: peers.Would, Reason: "would begin with: " + first.Reason}
	}
	r := k.amend(ctx, o, first.Reason, func(r *record.Record) error {
		if was, open := r.OpenRollout(); open {
			if was.ID == next.ID {
				return nil
			}
			next.Step = was.Step
		}
		r.Rollout = &next
		return nil
	})
	if r.State == peers.Done {
		r.State = peers.Accepted
		k.rollWake.up()
	}
	return r
}

func rolloutReport(o record.Rollout) peers.Receipt {
	switch o.State {
	case record.Done:
		return peers.Receipt{State: peers.Done, Reason: o.Outcome}
	case record.Refused:
		return refused(o.Outcome)
	default:
		return peers.Receipt{State: peers.Accepted, Reason: "it is under way"}
	}
}
