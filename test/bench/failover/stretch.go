package main

import (
	"context"
	_ "embed" // load.yaml
	"errors"
	"time"

	"github.com/pgspan/pgspan/test/bench/results"
	"github.com/pgspan/pgspan/test/writer"
)

//go:embed load.yaml
var loadManifest string

// slowDisk is what each volume's disk still does. A commit needs one or two operations, so this is some ten a second.
const slowDisk = "20iops"

// stretch puts all products through the same bad minutes, in which nobody may lose the lead: both cores saturated, or all disks slow. It
// returns the figures of each arm. changes is how often another reign began: each is a failover that nothing called for.
func (b *bench) stretch(ctx context.Context, kase string, arms []string) (map[string]map[string]float64, error) {
	type one struct {
		arm    string
		p      product
		w      *writers
		lead   member
		reign  int
		begins time.Time
	}
	var all []*one
	for _, arm := range arms {
		s := &one{arm: arm, p: b.product(arm)}
		var err error
		if s.lead, err = b.ready(ctx, s.p, trial{kase, arm, modeAsync, 1}); err != nil {
			return nil, setUpError{err}
		}
		all = append(all, s)
	}
	for _, s := range all {
		away, err := b.otherNode(ctx, s.lead.node)
		if err != nil {
			return nil, setUpError{err}
		}
		if s.w, err = b.startWriters(ctx, s.p, s.lead, away); err != nil {
			return nil, setUpError{err}
		}
		defer s.w.halt()
		if s.reign, err = s.p.reign(ctx, s.lead.name); err != nil {
			return nil, setUpError{err}
		}
		s.begins = time.Now()
	}
	relieve, err := b.burden(ctx, kase)
	defer relieve()
	if err != nil {
		return nil, setUpError{err}
	}
	for end := time.Now().Add(b.length); time.Now().Before(end); {
		if err := pause(ctx, min(time.Minute, time.Until(end))); err != nil {
			return nil, err
		}
		b.say("   %s, %.0f minutes left, load %.1f", kase, time.Until(end).Minutes(), results.Load())
	}
	ends := time.Now()
	relieve()
	figures := map[string]map[string]float64{}
	for _, s := range all {
		c, cancel := context.WithTimeout(ctx, patience)
		st, err := s.p.common().whole(c)
		cancel()
		if err != nil {
			return nil, err
		}
		lead, _ := st.primary()
		reign, err := s.p.reign(ctx, lead.name)
		if err != nil {
			return nil, err
		}
		o := observed{old: s.lead.address, begin: s.begins, end: ends, recovered: true, bound: bound}
		if err := s.w.finish(ctx, &o); err != nil {
			return nil, err
		}
		f := o.figures()
		f["changes"], f["minutes"], f["load"] = float64(reign-s.reign), results.Round(b.length.Minutes()), results.Load()
		f["unanswered"] = float64(unanswered(o.log))
		figures[s.arm] = f
	}
	return figures, nil
}

// unanswered counts the attempts that failed.
func unanswered(log []writer.Attempt) int {
	n := 0
	for _, a := range log {
		if a.Err != nil {
			n++
		}
	}
	return n
}

// burden brings the minutes' trouble about and returns what ends it, which may be called again.
func (b *bench) burden(ctx context.Context, kase string) (relieve func(), err error) {
	if kase == "slowdisk" {
		relieve = func() { _ = b.heal(ctx) } // is done again before the next trial, with its error
		for _, p := range b.products {
			claims, err := p.common().claims(ctx)
			if err != nil {
				return relieve, err
			}
			for _, claim := range claims {
				if err := b.fault(ctx, "slow", p.common().namespace+"/"+claim, slowDisk); err != nil {
					return relieve, err
				}
			}
		}
		return relieve, nil
	}
	var applied []func()
	relieve = func() {
		for _, f := range applied {
			f()
		}
	}
	for _, p := range b.products {
		place := p.common()
		client, err := p.client(ctx)
		if err != nil {
			return relieve, err
		}
		text, err := render(loadManifest, map[string]any{"Host": place.service, "User": client.User, "Password": client.Password, "Tag": b.tag})
		if err != nil {
			return relieve, err
		}
		applied = append(applied, func() {
			c, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			if err := place.withdraw(c, text); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				b.say("   load of %s: %v", place.namespace, err)
			}
		})
		if err := place.apply(ctx, text); err != nil {
			return relieve, err
		}
	}
	return relieve, nil
}
