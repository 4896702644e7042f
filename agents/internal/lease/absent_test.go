package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// A record that was removed may have a holder in force, which learns of it at its next renewal. Whoever is told by a person to begin
// from its own data waits until that holder has written the record again, or has lost its right.
func TestRemovedRecordIsNotCreatedWhileItsHolderMayBeInForce(t *testing.T) {
	adoption := order{what: create, record: recordOf(other, 4)}
	remove := func(r *rig) { r.store.version, r.store.rec = 0, record.Record{} }
	observer := func(t *testing.T, o Options, r *rig) *rig {
		o.Store, o.Me, o.Now = r.store, other, r.clock.now
		if o.Timing == (Timing{}) {
			o.Timing = usual
		}
		return &rig{Loop: New(o), store: r.store, clock: r.clock, t: t}
	}
	t.Run("holder_in_force", func(t *testing.T) {
		p := leading(t)
		r := observer(t, Options{}, p)
		r.turn(t.Context())
		p.pass(200 * time.Millisecond)
		remove(p)
		r.turn(t.Context())
		for range 7 {
			if err := r.obey(t.Context(), adoption); !errors.Is(err, ErrStale) {
				t.Fatalf("got %v, want refused", err)
			}
			p.pass(time.Second)
			r.turn(t.Context())
			if r.View().InForce(p.clock.t) && p.View().InForce(p.clock.t) {
				t.Fatal("both may write")
			}
		}
		p.pass(time.Second)
		if err := r.obey(t.Context(), adoption); err != nil {
			t.Fatalf("after the duration: %v", err)
		}
		if p.View().InForce(p.clock.t) {
			t.Error("the holder's right outlasts the wait")
		}
	})
	t.Run("process_that_never_saw_it", func(t *testing.T) {
		p := leading(t)
		remove(p)
		r := observer(t, Options{}, p)
		r.turn(t.Context())
		p.pass(8*time.Second - 1)
		if err := r.obey(t.Context(), adoption); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
	t.Run("the_removed_records_duration_counts", func(t *testing.T) {
		r := newRig(t, Options{})
		long := recordOf(other, 3)
		long.Duration = record.Duration(20 * time.Second)
		r.store.put(long)
		r.turn(t.Context())
		remove(r)
		r.turn(t.Context())
		r.pass(19 * time.Second)
		if err := r.obey(t.Context(), order{what: create, record: recordOf(me, 4)}); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
	t.Run("written_again_or_unheard_in_between_starts_the_wait_again", func(t *testing.T) {
		for name, happens := range map[string]func(r *rig){
			"written_again": func(r *rig) { r.store.put(recordOf(other, 3)); r.turn(t.Context()); remove(r); r.turn(t.Context()) },
			"unheard":       func(r *rig) { r.store.deaf = true; r.turn(t.Context()); r.store.deaf = false; r.turn(t.Context()) },
		} {
			r := newRig(t, Options{})
			r.turn(t.Context())
			r.pass(7 * time.Second)
			happens(r)
			r.pass(7 * time.Second)
			if err := r.obey(t.Context(), order{what: create, record: recordOf(me, 4)}); !errors.Is(err, ErrStale) {
				t.Errorf("%s: got %v, want refused", name, err)
			}
		}
	})
	t.Run("claim_of_a_process_that_has_seen_one", func(t *testing.T) {
		r := newRig(t, Options{})
		r.store.put(recordOf(other, 3))
		r.turn(t.Context())
		remove(r)
		r.turn(t.Context())
		if err := r.obey(t.Context(), order{what: create, record: firstClaim()}); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
}

// firstClaim is what a new release's first primary asks for.
func firstClaim() record.Record {
	r := recordOf(me, 1)
	r.SystemID, r.Bootstrap = "", &record.Bootstrap{Member: me.Member}
	return r
}
