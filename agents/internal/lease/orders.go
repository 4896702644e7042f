package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// What the loop can be told to do besides looking and renewing.
const (
	create = iota
	take
	release
	vacate
	change
	write
)

type order struct {
	what    int
	version string
	record  record.Record
	final   lsn.LSN
	heir    string
	how     *record.Transition
	change  func(*record.Record) error
	made    *string // by a write for another member
	done    chan error
}

// ErrStale says that an order was made for another version than the loop now knows. Judge again.
var ErrStale = errors.New("the record has changed since this was decided")

// Create claims an absent record: at once for the first claim of a database, otherwise when it has been absent for the longest duration
// that a holder may rely on. r says everything but the holder and the durations.
func (l *Loop) Create(ctx context.Context, r record.Record) error {
	return l.order(ctx, order{what: create, record: r})
}

// Take replaces the record at version, which must have been released or seen unchanged for its duration by this very loop, or be
// this incarnation's own.
func (l *Loop) Take(ctx context.Context, version string, r record.Record) error {
	return l.order(ctx, order{what: take, version: version, record: r})
}

// Release gives the record back with the final position, meant for heir (empty: for whoever holds that position). The caller has proven that no server process is left and keeps any from
// starting until this returns. how is what the transition to the next holder has taken so far; nil: not known.
func (l *Loop) Release(ctx context.Context, final lsn.LSN, heir string, how *record.Transition) error {
	return l.order(ctx, order{what: release, final: final, heir: heir, how: how})
}

// Vacate gives the record up although the server had no clean end, so that the members vote at once and need not wait for it to run out. The
// caller has proven that no server process is left, or that each was sent SIGKILL, and keeps any from starting until this returns.
func (l *Loop) Vacate(ctx context.Context) error { return l.order(ctx, order{what: vacate}) }

// Change alters the record that this incarnation holds in force, by one compare-and-set, at once. nil means that the store has confirmed it; after
// an error it may have been applied all the same. f may be called on the loop's own goroutine, must not wait, and refuses by an error.
func (l *Loop) Change(ctx context.Context, f func(*record.Record) error) error {
	return l.order(ctx, order{what: change, change: f})
}

func (l *Loop) order(ctx context.Context, o order) error {
	o.done = make(chan error, 1)
	select {
	case l.orders <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// obey carries out one order. The conditions of safety are checked here again, whoever gave the order and why.
func (l *Loop) obey(ctx context.Context, o order) error {
	v := l.View()
	switch o.what {
	case create:
		if v.Known != Absent {
			return ErrStale
		}
		// Its holder may be in force and not know yet that the record was removed (SAFETY D12). Only the first claim of a database, where
		// nothing was ever seen, takes the place of nobody.
		first := o.record.Bootstrap != nil && o.record.SystemID == "" && !v.Seen
		if rest := v.Vacant(l.now()); rest > 0 && !first {
			return fmt.Errorf("create the record: there has been none for less than %s: %w", v.AbsentWait, ErrStale)
		}
		if err := l.begin(false); err != nil {
			return err
		}
		next := l.stamp(o.record)
		base := l.now()
		version, err := l.write(ctx, "", next)
		return l.settle(ctx, next, version, base, err)
	case take:
		if v.Known != Present || v.Version != o.version {
			return ErrStale
		}
		if !v.Mine && !v.Record.Free() && !v.Expired(l.now()) {
			return fmt.Errorf("take the record: its holder's time is not over: %w", ErrStale)
		}
		if o.record.Epoch.Compare(v.Record.Epoch) <= 0 || o.record.Timeline <= v.Record.Timeline && o.record.Bootstrap == nil {
			return fmt.Errorf("take the record: epoch %s on timeline %d does not follow epoch %s on timeline %d",
				o.record.Epoch, o.record.Timeline, v.Record.Epoch, v.Record.Timeline)
		}
		if err := l.begin(v.Record.Free()); err != nil {
			return err
		}
		next := l.stamp(o.record)
		base := l.lower(next)
		version, err := l.write(ctx, v.Version, next)
		return l.settle(ctx, next, version, base, err)
	case release:
		return l.giveBack(ctx, v, o.final, o.heir, o.how)
	case vacate:
		return l.giveUp(ctx, v)
	case change:
		return l.alter(ctx, v, o.change)
	case write:
		return l.writeFor(ctx, o)
	default:
		return fmt.Errorf("unknown order %d", o.what)
	}
}

func (l *Loop) settle(ctx context.Context, next record.Record, version string, base boottime.Instant, err error) error {
	if err == nil {
		l.won(next, version, base)
		l.settled()
		return nil
	}
	if !l.unsure { // a clear no
		l.settled()
	}
	// Whether it was applied is not known, or somebody was faster. The read says which; it extends nothing.
	_ = l.look(ctx) // if it fails, the next turn looks again
	return err
}

// alter is a renewal that changes something more.
func (l *Loop) alter(ctx context.Context, v View, f func(*record.Record) error) error {
	if !v.InForce(l.now()) {
		return fmt.Errorf("change the record: this incarnation does not hold it in force: %w", ErrStale)
	}
	next := l.stamp(v.Record.Clone())
	if n := l.news.Load(); n != nil && n.Record != nil {
		n.Record(&next)
	}
	if err := f(&next); err != nil {
		return err
	}
	base := l.lower(next)
	version, err := l.write(ctx, v.Version, next)
	return l.settle(ctx, next, version, base, err)
}

// givenUpCounts is for how long a leader that has given the right up by its own wish counts against the next one that would (SAFETY D36).
const givenUpCounts = 10 * time.Minute

func (l *Loop) giveBack(ctx context.Context, v View, final lsn.LSN, heir string, how *record.Transition) error {
	return l.leave(ctx, v, "release", func(r *record.Record) { r.Released, r.LSN, r.Heir, r.Transition = true, final, heir, how })
}

func (l *Loop) giveUp(ctx context.Context, v View) error {
	return l.leave(ctx, v, "give up", func(r *record.Record) {
		r.Vacated, r.Heir = r.Version(), ""
		r.GivenUp = append(r.GivenUp, record.Duration(givenUpCounts))
	})
}

// leave writes this incarnation's last version of the record.
func (l *Loop) leave(ctx context.Context, v View, verb string, change func(*record.Record)) error {
	if !v.Mine {
		return fmt.Errorf("%s the record: this incarnation does not hold it: %w", verb, ErrStale)
	}
	next := l.stamp(v.Record.Clone())
	change(&next)
	// The right ends before the write is sent: from then on it may be somebody else's.
	l.update(func(v *View) { v.Deadline, v.Failsafe = 0, false })
	version, err := l.write(ctx, v.Version, next)
	if err != nil {
		version, err = l.relayed(ctx, v.Version, next, err)
	}
	if err != nil {
		_ = l.look(ctx) // if it fails, the next turn looks again
		return fmt.Errorf("%s the record: %w", verb, err)
	}
	l.saw(next, version, nil)
	return nil
}
