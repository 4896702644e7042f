package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestTake(t *testing.T) {
	next := recordOf(me, 4)
	observer := func(t *testing.T) *rig {
		r := newRig(t, Options{})
		r.store.put(recordOf(other, 3))
		r.turn(t.Context())
		return r
	}
	takeIt := func(r *rig) error {
		return r.obey(t.Context(), order{what: take, version: r.View().Version, record: next})
	}
	t.Run("before_the_duration_is_refused", func(t *testing.T) {
		r := observer(t)
		r.pass(8*time.Second - 1)
		if err := takeIt(r); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
		r.want(0, false)
	})
	t.Run("after_the_duration", func(t *testing.T) {
		r := observer(t)
		r.pass(8 * time.Second)
		if err := takeIt(r); err != nil {
			t.Fatal(err)
		}
		r.want(5*time.Second, true)
	})
	t.Run("a_renewal_in_between_starts_the_wait_again", func(t *testing.T) {
		r := observer(t)
		r.pass(7 * time.Second)
		r.store.put(recordOf(other, 3))
		r.turn(t.Context())
		r.pass(2 * time.Second)
		if err := takeIt(r); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
	t.Run("a_renewal_that_was_not_seen_makes_it_fail", func(t *testing.T) {
		r := observer(t)
		r.store.put(recordOf(other, 3))
		r.pass(9 * time.Second)
		if err := takeIt(r); !errors.Is(err, ErrConflict) {
			t.Errorf("got %v, want a conflict", err)
		}
		r.want(0, false)
	})
	t.Run("the_recorded_duration_counts_and_not_ones_own", func(t *testing.T) {
		r := newRig(t, Options{Timing: Timing{Duration: 2 * time.Second, FenceAfter: time.Second, Renew: time.Second}})
		long := recordOf(other, 3)
		long.Duration = record.Duration(20 * time.Second)
		r.store.put(long)
		r.turn(t.Context())
		r.pass(19 * time.Second)
		if err := takeIt(r); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
	t.Run("released_is_free", func(t *testing.T) {
		r := newRig(t, Options{})
		rel := recordOf(other, 3)
		rel.Released = true
		r.store.put(rel)
		r.turn(t.Context())
		if err := takeIt(r); err != nil {
			t.Fatal(err)
		}
		if r.store.rec.Released {
			t.Error("still marked as released")
		}
		r.want(5*time.Second, true)
	})
	t.Run("answer_lost", func(t *testing.T) {
		r := observer(t)
		r.pass(8 * time.Second)
		r.store.loseAnswer = 1
		if err := takeIt(r); err == nil {
			t.Error("got no error")
		}
		r.want(0, true) // it is ours, but the right begins with a renewal that is confirmed
		r.turn(t.Context())
		r.want(5*time.Second, true)
	})
	t.Run("another_version_than_was_judged", func(t *testing.T) {
		r := observer(t)
		r.pass(8 * time.Second)
		if err := r.obey(t.Context(), order{what: take, version: "0", record: next}); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want stale", err)
		}
	})
	t.Run("an_epoch_that_does_not_follow", func(t *testing.T) {
		for _, bad := range []record.Record{recordOf(me, 3), recordOf(me, 2)} {
			r := observer(t)
			r.pass(8 * time.Second)
			if err := r.obey(t.Context(), order{what: take, version: r.View().Version, record: bad}); err == nil {
				t.Errorf("epoch %s taken over 1.3", bad.Epoch)
			}
		}
	})
}

func TestCreate(t *testing.T) {
	claim := order{what: create, record: firstClaim()}
	t.Run("absent", func(t *testing.T) {
		r := newRig(t, Options{})
		r.turn(t.Context())
		if err := r.obey(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
		r.want(5*time.Second, true)
	})
	t.Run("unreachable_is_not_absent", func(t *testing.T) {
		r := newRig(t, Options{})
		r.store.deaf = true
		r.turn(t.Context())
		r.store.deaf = false
		if err := r.obey(t.Context(), claim); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
	t.Run("somebody_was_faster", func(t *testing.T) {
		r := newRig(t, Options{})
		r.turn(t.Context())
		r.store.put(recordOf(other, 1))
		if err := r.obey(t.Context(), claim); !errors.Is(err, ErrConflict) {
			t.Errorf("got %v, want a conflict", err)
		}
		r.want(0, false)
	})
	t.Run("answer_lost", func(t *testing.T) {
		r := newRig(t, Options{})
		r.turn(t.Context())
		r.store.loseAnswer = 1
		if err := r.obey(t.Context(), claim); err == nil {
			t.Error("got no error")
		}
		r.turn(t.Context())
		r.want(5*time.Second, true)
	})
}

func TestRelease(t *testing.T) {
	giveBack := order{what: release, final: 0x99}
	t.Run("records_the_final_position", func(t *testing.T) {
		r := leading(t)
		if err := r.obey(t.Context(), giveBack); err != nil {
			t.Fatal(err)
		}
		r.want(0, false)
		if got := r.store.rec; !got.Released || got.LSN != 0x99 || got.Holder != me {
			t.Errorf("stored: %+v", got)
		}
		r.turn(t.Context())
		if r.View().Mine || !r.store.rec.Released {
			t.Error("taken again by its own releaser")
		}
	})
	t.Run("answer_lost", func(t *testing.T) {
		r := leading(t)
		r.store.loseAnswer = 1
		if err := r.obey(t.Context(), giveBack); err == nil {
			t.Error("got no error")
		}
		r.want(0, false)
	})
	t.Run("request_lost", func(t *testing.T) {
		r := leading(t)
		r.store.loseRequest = 1
		if err := r.obey(t.Context(), giveBack); err == nil {
			t.Error("got no error")
		}
		r.want(0, true) // held, with nothing granted, until the release is tried again
	})
	t.Run("only_by_the_holder", func(t *testing.T) {
		r := newRig(t, Options{})
		r.store.put(recordOf(other, 3))
		r.turn(t.Context())
		if err := r.obey(t.Context(), giveBack); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
}

func TestVacate(t *testing.T) {
	giveUp := order{what: vacate}
	t.Run("is_free_at_once_and_not_ones_own", func(t *testing.T) {
		r := leading(t)
		if err := r.obey(t.Context(), giveUp); err != nil {
			t.Fatal(err)
		}
		r.want(0, false)
		if got := r.store.rec; got.Released || !got.Free() || got.Holder != me || len(got.GivenUp) != 1 {
			t.Errorf("stored: %+v", got)
		}
		r.turn(t.Context())
		if v := r.View(); v.Mine || !v.Expired(r.clock.t) || !r.store.rec.Free() {
			t.Errorf("taken again by its own leader: %+v", v)
		}
	})
	t.Run("others_need_not_wait", func(t *testing.T) {
		r := newRig(t, Options{})
		gone := recordOf(other, 3)
		gone.Vacated = gone.Version()
		r.store.put(gone)
		r.turn(t.Context())
		if err := r.obey(t.Context(), order{what: take, version: r.View().Version, record: recordOf(me, 4)}); err != nil {
			t.Fatal(err)
		}
		if r.store.rec.Free() {
			t.Error("still given up")
		}
		r.want(5*time.Second, true)
	})
	t.Run("a_release_that_does_not_know_it_ends_it_by_writing", func(t *testing.T) {
		r := newRig(t, Options{})
		next := recordOf(other, 3)
		next.Vacated = next.Version()
		next.Beat++
		r.store.put(next)
		r.turn(t.Context())
		if err := r.obey(t.Context(), order{what: take, version: r.View().Version, record: recordOf(me, 4)}); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused: its holder leads", err)
		}
	})
	t.Run("answer_lost", func(t *testing.T) {
		r := leading(t)
		r.store.loseAnswer = 1
		if err := r.obey(t.Context(), giveUp); err == nil {
			t.Error("got no error")
		}
		r.want(0, false)
	})
	t.Run("request_lost", func(t *testing.T) {
		r := leading(t)
		r.store.loseRequest = 1
		if err := r.obey(t.Context(), giveUp); err == nil {
			t.Error("got no error")
		}
		r.want(0, true)
		r.turn(t.Context())
		r.want(5*time.Second, true) // it goes on: nothing was given
	})
	t.Run("only_by_the_holder", func(t *testing.T) {
		r := newRig(t, Options{})
		r.store.put(recordOf(other, 3))
		r.turn(t.Context())
		if err := r.obey(t.Context(), giveUp); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
}
