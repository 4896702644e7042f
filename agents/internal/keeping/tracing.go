package keeping

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// traceEvery is how exactly the last stages of a transition are measured, traceLimit after how long what is not over is left out.
	traceEvery = 100 * time.Millisecond
	traceLimit = time.Minute
	// traceAsk bounds one session through the Service: until kube-proxy leads it here it may go to a node that is gone.
	traceAsk = time.Second
)

// passage is what this member has measured of how it came to lead in one reign.
type passage struct {
	reign                        string
	so                           record.Transition // the stages that are over
	took                         boottime.Instant
	promoted, published, arrived boottime.Instant // 0: not yet
}

// giving is what the holder of a record that it gives back has measured.
func (k *Keeper) giving(r record.Record) *record.Transition {
	n := k.look()
	if n.handover == nil || n.handoverEpoch != r.Epoch {
		return nil
	}
	return &record.Transition{Epoch: r.Epoch, From: k.o.Pod, Stages: []record.Stage{
		{Name: record.Prepare, Took: record.Duration(n.handoverPrepared)},
		{Name: record.Stop, Took: record.Duration(boottime.Now().Sub(n.handoverSince))},
	}}
}

// begins is the transition to this member as it stands before the record is taken.
func (k *Keeper) begins(next epoch.Epoch) record.Transition {
	v, now := k.view(), boottime.Now()
	r := v.Record
	out := record.Transition{Epoch: next, To: k.o.Pod}
	for _, m := range r.Known() {
		if m.ID == r.Holder.Member {
			out.From = m.Pod
		}
	}
	switch given := r.Transition; {
	case r.Released && given != nil && given.Epoch == r.Epoch:
		out.Stages = given.Clone().Stages
	case !r.Free():
		out.Stages = []record.Stage{{Name: record.Notice, Took: record.Duration(v.Unchanged(now) - v.FreeFor(now))}}
	}
	return out
}

// tookOver notes that the record was taken, at a moment when it had been free for as long as free says.
func (k *Keeper) tookOver(reign string, t record.Transition, free time.Duration, began boottime.Instant) {
	now := boottime.Now()
	t.Stages = append(slices.Clone(t.Stages), record.Stage{Name: record.Elect, Took: record.Duration(free + now.Sub(began))})
	k.change(func(n *known) { n.passage = &passage{reign: reign, so: t, took: now} })
	k.traceWake.up()
}

// tracing measures the stages of a transition that end outside this process, and writes the whole into the record.
func (k *Keeper) tracing() func(context.Context) error {
	return func(ctx context.Context) error {
		n, v, now := k.look(), k.view(), boottime.Now()
		if n.passage == nil {
			return nil
		}
		p := *n.passage
		switch {
		case !v.Mine || v.Record.Reign != p.reign:
			k.change(func(n *known) { n.passage = nil })
			return nil
		case p.promoted == 0 && k.Snapshot().Role() == observed.Primary:
			p.promoted = n.statusAt
		}
		if p.published == 0 && n.published == v.Record.Epoch {
			p.published = n.publishedAt
		}
		if p.published != 0 && p.arrived == 0 && k.arrives(ctx) {
			p.arrived = boottime.Now()
		}
		over := p.promoted != 0 && p.published != 0 && (p.arrived != 0 || k.o.Probe == "")
		if !over && now.Sub(p.took) < traceLimit {
			k.change(func(n *known) {
				if n.passage != nil && n.passage.reign == p.reign {
					n.passage = &p
				}
			})
			return nil
		}
		t := p.transition()
		k.log.Info("the right has passed", "from", t.From, "to", t.To, "epoch", t.Epoch.String(), "gap", t.Gap().String(), "stages", t.String())
		k.events.Tell(false, "LeaderChanged", t.String())
		k.change(func(n *known) { n.passage, n.transition = nil, &t })
		k.tellRecord(v.Record.Epoch, func(n *news) { n.transition = &t })
		return nil
	}
}

// transition is the whole, without what has not come to its end.
func (p passage) transition() record.Transition {
	out := p.so
	add := func(name string, from, to boottime.Instant) {
		if from != 0 && to != 0 {
			out.Stages = append(out.Stages, record.Stage{Name: name, Took: record.Duration(max(0, to.Sub(from)))})
		}
	}
	add(record.Promote, p.took, p.promoted)
	add(record.Publish, p.took, p.published)
	add(record.Proxy, p.published, p.arrived)
	return out
}

// arrives reports whether a session through the Service for writing comes to this pod's server. It writes nothing.
func (k *Keeper) arrives(ctx context.Context) bool {
	host, port, err := net.SplitHostPort(k.o.Probe)
	if err != nil {
		return false // none is probed
	}
	ctx, cancel := context.WithTimeout(ctx, traceAsk)
	defer cancel()
	who, err := k.remote(ctx, host, "", port, pg.Remote.Identify)
	return err == nil && !who.InRecovery && slices.Contains(k.addresses(), who.Server)
}

func (k *Keeper) traceEvery() time.Duration {
	if k.look().passage != nil {
		return traceEvery
	}
	return time.Minute
}
