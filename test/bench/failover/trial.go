package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"
)

const (
	// bound is how long writes may take to come back. A trial that takes longer has failed, and counts with it.
	bound = 2 * time.Minute
	// calm is how long a product that has just become whole is left alone.
	calm = 3 * time.Second
	// linger is how long the old primary is watched behind its cut after another one leads, and again after the cut is healed.
	linger = 5 * time.Second

	tableWrites, tableHeld = "bench_writes", "bench_held"
)

// setUpError is a trial that could not begin, or whose fault could not be brought about. It says nothing about the product and is not counted.
type setUpError struct{ error }

// event loses the primary of one product in one way, under the writers, and returns the figures.
func (b *bench) event(ctx context.Context, t trial) (map[string]float64, error) {
	p := b.product(t.arm)
	lead, err := b.ready(ctx, p, t)
	if err != nil {
		return nil, setUpError{err}
	}
	away, err := b.otherNode(ctx, lead.node)
	if err != nil {
		return nil, setUpError{err}
	}
	w, err := b.startWriters(ctx, p, lead, away)
	if err != nil {
		return nil, setUpError{err}
	}
	defer w.halt()
	wait := b.want.phase(t)
	if err := pause(ctx, wait); err != nil {
		return nil, err
	}
	// What was whole when the writers began may not be so any more.
	st, err := p.common().look(ctx)
	if err != nil {
		return nil, setUpError{err}
	}
	if now, ok := st.primary(); !ok || now.address != lead.address || st.streaming != members-1 {
		return nil, setUpError{fmt.Errorf("not whole under the writers: %d replicas stream", st.streaming)}
	}
	o := observed{old: lead.address, begin: time.Now(), bound: bound}
	struck := make(chan error, 1)
	go func() { struck <- b.strike(ctx, t, p, lead) }()
	o.recovered, err = b.watch(ctx, w.w, o, t.kase == "crash", struck)
	if err != nil {
		return nil, err
	}
	if t.how() == "cut" {
		if err := pause(ctx, linger); err != nil {
			return nil, err
		}
	}
	healed := b.heal(ctx)
	if t.how() == "cut" && healed == nil {
		healed = pause(ctx, linger)
	}
	o.end = time.Now()
	if !o.recovered { // what is lost can only be counted where somebody answers
		c, cancel := context.WithTimeout(ctx, patience)
		_, err = p.common().whole(c)
		cancel()
	}
	if err := errors.Join(healed, w.finish(ctx, &o)); err != nil {
		return nil, err
	}
	figures := o.figures()
	figures["phase_s"] = wait.Seconds()
	if err != nil {
		b.say("   %s %s did not become whole again by itself: %v", t.arm, t.kase, err)
		figures["stuck"] = 1
		if err := b.reinstall(ctx, p); err != nil {
			return nil, err
		}
	}
	if out := writer.Errors(w.w.Log(), o.begin, o.end); out != "" {
		b.say("   the writer met:%s", out)
	}
	return figures, nil
}

// watch waits until writes are back, or the bound is over. A fault that was not brought about, and did nothing, is no trial.
func (b *bench) watch(ctx context.Context, w *writer.Writer, o observed, inPlace bool, struck <-chan error) (bool, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var failed error
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case err := <-struck:
			struck, failed = nil, err
		case <-tick.C:
		}
		log, now := w.Log(), time.Now()
		switch {
		case back(log, o.old, o.begin, now, inPlace):
			return true, nil
		case failed != nil && struck == nil && now.Sub(o.begin) > settledFor && undisturbed(log, o.old, o.begin):
			return false, setUpError{fmt.Errorf("the fault was not brought about: %w", failed)}
		case now.Sub(o.begin) > o.bound:
			return false, nil
		}
	}
}

// undisturbed reports whether the old primary went on answering as if nothing had been done.
func undisturbed(log []writer.Attempt, old string, begin time.Time) bool {
	answered := false
	for _, a := range log {
		if a.Sent.Before(begin) {
			continue
		}
		if a.Err != nil || a.Server != old {
			return false
		}
		answered = true
	}
	return answered
}

// ready brings every product to where it is whole, the one under test into its arm's settings, and for the loss of a node sees that the other's
// primary is elsewhere: two failovers at once on one machine would measure each other.
func (b *bench) ready(ctx context.Context, p product, t trial) (member, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, other := range b.products {
		if _, err := other.common().whole(ctx); err != nil {
			return member{}, err
		}
	}
	if err := p.configure(ctx, t.arm, t.mode); err != nil {
		return member{}, err
	}
	st, err := p.common().whole(ctx)
	if err != nil {
		return member{}, err
	}
	lead, _ := st.primary()
	for _, other := range b.products {
		if other == p || t.kase != "node" {
			continue
		}
		if err := b.moveAway(ctx, other, lead.node); err != nil {
			return member{}, err
		}
	}
	return lead, pause(ctx, calm)
}

// moveAway hands a product over until its primary is not on the node.
func (b *bench) moveAway(ctx context.Context, p product, node string) error {
	return cluster.Wait(ctx, "the other product's primary is on another node", func(ctx context.Context) (bool, string, error) {
		st, err := p.common().whole(ctx)
		if err != nil {
			return false, "", err
		}
		lead, _ := st.primary()
		if lead.node != node {
			return true, "", nil
		}
		err = p.handOver(ctx, lead.name)
		if err == nil {
			err = pause(ctx, calm)
		}
		return false, "on " + node, err
	})
}

// otherNode is the node whose port the writer uses: one that is not going to be lost.
func (b *bench) otherNode(ctx context.Context, node string) (string, error) {
	st, err := b.products[0].common().look(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range st.members {
		if m.node != node {
			return m.node, nil
		}
	}
	return "", errors.New("no other node carries a member")
}
