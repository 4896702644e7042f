package selftest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/inject"
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/wan"
)

const (
	// biteWithin is how long a fault may take to be felt: load balancers move, connections are given up.
	biteWithin = 30 * time.Second
	// healWithin is long because a node that was away comes back step by step.
	healWithin = 90 * time.Second
)

// Run goes through all faults and says how each one went. Faults whose words do not contain one of the
// filters are left out; without filters none is.
func Run(ctx context.Context, state lifecycle.State, filters []string, say build.Progress) error {
	b, err := newBench(ctx, state, say)
	if err != nil {
		return err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_ = b.close(clean)
	}()
	failed, ran := 0, 0
	for _, c := range b.cases() {
		f, err := fault.Parse(c.fault, c.oneWay)
		if err != nil {
			return err
		}
		if !chosen(f, filters) {
			continue
		}
		ran++
		began := time.Now()
		if err := b.run(ctx, c, f); err != nil {
			failed++
			say("FAIL  %s: %v", f, err)
		} else {
			say("ok    %-40s bites and heals (%s)", f, time.Since(began).Round(100*time.Millisecond))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if ran == 0 {
		return fmt.Errorf("no fault matches %q", filters)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d faults are not as they should be", failed, ran)
	}
	return ctx.Err()
}

// run goes through one case, and heals whatever happens.
func (b *bench) run(ctx context.Context, c testCase, f fault.Fault) (err error) {
	works := join(c.broken, c.intact)
	if err := all(ctx, works, healWithin, true); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	if err := b.holdAddresses(ctx); err != nil {
		return err
	}
	if err := inject.Do(ctx, b.state, f); err != nil {
		return errors.Join(err, b.heal(ctx))
	}
	err = errors.Join(all(ctx, c.broken, biteWithin, false), all(ctx, join(c.intact, c.during), biteWithin, true))
	if err != nil {
		err = fmt.Errorf("under the fault: %w", err)
	}
	if err := errors.Join(err, b.heal(ctx)); err != nil {
		return err
	}
	if err := all(ctx, join(works, c.after), healWithin, true); err != nil {
		return fmt.Errorf("after healing: %w", err)
	}
	return nil
}

func (b *bench) heal(ctx context.Context) error {
	_, err := inject.Heal(context.WithoutCancel(ctx), b.state, nil)
	return err
}

// holdAddresses puts the load balancer's address of the first node's pod onto the second node, so that faults of the
// second node show whether addresses move away from it.
func (b *bench) holdAddresses(ctx context.Context) error {
	address, err := b.probes[b.a1.Name].address()
	if err != nil {
		return err
	}
	for _, h := range b.a1.Site.NodeHosts() {
		if h.Name != b.a2.Name {
			if err := wan.RemoveAddress(ctx, h.Name, address); err != nil {
				return err
			}
		}
	}
	if err := wan.AddAddress(ctx, b.a2.Name, address); err != nil {
		return err
	}
	return wan.Forget(ctx, b.a1.Site, address)
}

// all waits until every check works, or until none of them does, and names those that stay otherwise.
func all(ctx context.Context, checks []check, patience time.Duration, wanted bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, c := range checks {
		same := 0
		for {
			try, done := context.WithTimeout(ctx, max(c.patience, oneTry))
			err := c.ask(try)
			done()
			if (err == nil) == wanted {
				// One failure may be chance, and only two are a fault.
				if same++; wanted || same == 2 {
					break
				}
				continue
			}
			same = 0
			if ctx.Err() != nil {
				if wanted {
					return fmt.Errorf("%s: no: %w", c.what, err)
				}
				return fmt.Errorf("%s: still", c.what)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

func chosen(f fault.Fault, filters []string) bool {
	if len(filters) == 0 {
		return true
	}
	return slices.ContainsFunc(filters, func(filter string) bool { return strings.Contains(f.String(), filter) })
}
