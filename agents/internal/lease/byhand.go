package lease

import (
	"context"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// ByHand drives a loop without Run and without timers: whoever explores the protocol decides what happens when. Nothing else may drive
// the same loop.
type ByHand struct{ loop *Loop }

// ByHand returns the loop to be driven by hand.
func (l *Loop) ByHand() ByHand { return ByHand{l} }

// Turn looks or renews once, as Run does when its timer fires, and returns how long Run would wait then.
func (b ByHand) Turn(ctx context.Context) time.Duration { return b.loop.turn(ctx) }

// Take is Loop.Take, done at once.
func (b ByHand) Take(ctx context.Context, version string, r record.Record) error {
	return b.loop.obey(ctx, order{what: take, version: version, record: r})
}

// Release is Loop.Release, done at once.
func (b ByHand) Release(ctx context.Context, final lsn.LSN, heir string) error {
	return b.loop.obey(ctx, order{what: release, final: final, heir: heir})
}

// Vacate is Loop.Vacate, done at once.
func (b ByHand) Vacate(ctx context.Context) error {
	return b.loop.obey(ctx, order{what: vacate})
}

// Change is Loop.Change, done at once.
func (b ByHand) Change(ctx context.Context, f func(*record.Record) error) error {
	return b.loop.obey(ctx, order{what: change, change: f})
}

// Carried is what the next renewal will change the record by.
func (b ByHand) Carried() News {
	if n := b.loop.news.Load(); n != nil {
		return *n
	}
	return News{}
}
