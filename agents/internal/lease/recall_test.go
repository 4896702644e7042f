package lease

import (
	"errors"
	"testing"
	"time"
)

// A process that takes over from one of the same incarnation while the store is away goes on by the promises of those whom that one knew (SAFETY D39).
func TestRightOfAnEarlierProcessIsProlonged(t *testing.T) {
	known := recordOf(me, 3)
	known.Reign = "r"
	recalling := func(t *testing.T) *rig {
		r := newRig(t, Options{Adopted: 1000 + 3e9, Recalled: &known})
		r.store.put(known)
		r.store.deaf = true
		r.turn(t.Context())
		if v := r.View(); v.Mine || v.InForce(r.clock.t) || !v.Recalls(r.clock.t) || v.Trouble == "" {
			t.Fatalf("got %+v", v)
		}
		return r
	}
	prolong := func(t *testing.T, r *rig) {
		t.Helper()
		r.pass(2 * time.Second)
		if err := r.Prolong(r.clock.t, known); err != nil {
			t.Fatal(err)
		}
		if v := r.View(); v.Deadline != r.clock.t.Add(5*time.Second) || v.Mine || v.Known != Unreachable || v.Record.Format != 0 {
			t.Errorf("got %+v", v)
		}
	}
	t.Run("and_is_its_own_when_the_store_says_so", func(t *testing.T) {
		r := recalling(t)
		prolong(t, r)
		r.pass(4 * time.Second) // the adopted deadline alone would have ended
		r.store.deaf, r.store.loseRequest = false, 1
		r.turn(t.Context()) // reads, and cannot write yet
		r.want(time.Second, true)
		if v := r.View(); v.Confirmed() || v.Recalled != nil {
			t.Errorf("got %+v", v)
		}
		r.turn(t.Context())
		r.want(5*time.Second, true)
	})
	t.Run("and_ends_when_another_has_taken_it", func(t *testing.T) {
		r := recalling(t)
		prolong(t, r)
		r.store.put(recordOf(other, 4))
		r.store.deaf = false
		r.turn(t.Context())
		r.want(0, false)
		if r.View().Recalls(r.clock.t) {
			t.Error("it still goes on by what it knew")
		}
	})
	t.Run("never_writes_what_it_recalls", func(t *testing.T) {
		r := recalling(t)
		prolong(t, r)
		r.store.version = 0 // the record was removed meanwhile
		r.store.deaf = false
		r.turn(t.Context())
		if r.store.version != 0 {
			t.Errorf("wrote %+v", r.store.rec)
		}
		r.want(0, false)
	})
	t.Run("not_once_it_has_ended", func(t *testing.T) {
		r := recalling(t)
		r.pass(3 * time.Second)
		if err := r.Prolong(r.clock.t, known); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
	t.Run("not_in_another_reign", func(t *testing.T) {
		r := recalling(t)
		another := known
		another.Reign = "s"
		if err := r.Prolong(r.clock.t, another); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
	t.Run("not_without_knowing_the_record", func(t *testing.T) {
		r := newRig(t, Options{Adopted: 1000 + 3e9})
		r.store.deaf = true
		r.turn(t.Context())
		if err := r.Prolong(r.clock.t, known); !errors.Is(err, ErrStale) {
			t.Errorf("got %v, want refused", err)
		}
	})
}
