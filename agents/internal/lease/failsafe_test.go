package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// SAFETY rules 2 and 17: a round of failsafe gives what a renewal sent at its beginning would have given, and nothing else prolongs.
func TestFailsafeProlongsARightThatIsInForce(t *testing.T) {
	r := leading(t)
	r.store.deaf = true
	r.pass(2 * time.Second)
	base := r.clock.now()
	r.pass(time.Second) // the answers took that long
	if err := r.Prolong(base, r.View().Record); err != nil {
		t.Fatal(err)
	}
	r.want(4*time.Second, true)
	if !r.View().Failsafe {
		t.Error("nothing shows that the right rests on promises")
	}
	r.turn(t.Context()) // fails
	r.want(4*time.Second, true)
	if err := r.Prolong(base.Add(-time.Hour), r.View().Record); err != nil {
		t.Fatal(err)
	}
	r.want(4*time.Second, true) // never shortened
	r.store.deaf = false
	r.turn(t.Context())
	r.want(5*time.Second, true)
	if r.View().Failsafe {
		t.Error("a renewal is taken for a promise")
	}
}

func TestFailsafeIsRefused(t *testing.T) {
	for name, prepare := range map[string]func(*rig) record.Record{
		"when_the_right_has_ended": func(r *rig) record.Record { r.pass(5 * time.Second); return r.View().Record },
		"of_another_epoch":         func(r *rig) record.Record { return recordOf(me, 2) },
		"of_another_reign":         func(r *rig) record.Record { x := r.View().Record; x.Reign = "other"; return x },
		"when_somebody_else_holds_it": func(r *rig) record.Record {
			mine := r.View().Record
			r.store.put(recordOf(other, 4))
			r.turn(r.t.Context())
			return mine
		},
		"when_it_was_given_back": func(r *rig) record.Record {
			mine := r.View().Record
			if err := r.ByHand().Release(r.t.Context(), 7, ""); err != nil {
				r.t.Fatal(err)
			}
			return mine
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := leading(t)
			of := prepare(r)
			before := r.View()
			if err := r.Prolong(r.clock.now(), of); !errors.Is(err, ErrStale) {
				t.Errorf("got %v, want %v", err, ErrStale)
			}
			if got := r.View(); got.Deadline != before.Deadline || got.Failsafe {
				t.Errorf("deadline %v, before %v", got.Deadline, before.Deadline)
			}
		})
	}
	r := leading(t)
	if err := r.Prolong(r.clock.now().Add(time.Second), r.View().Record); err == nil {
		t.Error("promises of the future count")
	}
}

func TestFailsafeTakesTheShorterOfTwoDurations(t *testing.T) {
	r := leading(t)
	r.timing.FenceAfter = 3 * time.Second
	r.pass(4 * time.Second)
	if err := r.Prolong(r.clock.now(), r.View().Record); err != nil {
		t.Fatal(err)
	}
	r.want(3*time.Second, true)
}

// A promise and a take never cross.
func TestWhoHasPromisedTakesNothing(t *testing.T) {
	free := func(t *testing.T) *rig {
		r := newRig(t, Options{})
		r.store.put(recordOf(other, 3))
		r.turn(t.Context())
		r.pass(8 * time.Second)
		return r
	}
	next := func(r *rig) record.Record {
		x := r.View().Record.Clone()
		x.Epoch, x.Timeline = x.Epoch.NextLocal(), x.Timeline+1
		return x
	}
	t.Run("before_it_lapses", func(t *testing.T) {
		r := free(t)
		if err := r.Promise(other, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(8*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := r.Promise(other, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(time.Second)); err != nil { // does not shorten the first
			t.Fatal(err)
		}
		r.pass(8*time.Second - 1)
		if err := r.ByHand().Take(t.Context(), r.View().Version, next(r)); !errors.Is(err, ErrStale) {
			t.Errorf("got %v", err)
		}
		r.pass(1)
		if err := r.ByHand().Take(t.Context(), r.View().Version, next(r)); err != nil || r.Promised(r.clock.now()) != 0 {
			t.Errorf("after it has lapsed: %v", err)
		}
	})
	t.Run("unless_the_leader_withdraws_it", func(t *testing.T) {
		r := free(t)
		third := me
		third.Member = "pvc-c"
		hold := func(by grant.Incarnation) {
			t.Helper()
			if err := r.Promise(by, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(8*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		hold(other)
		if r.Withdrawn(third); r.Promised(r.clock.now()) == 0 {
			t.Error("somebody else withdrew it")
		}
		if r.Withdrawn(other); r.Promised(r.clock.now()) != 0 {
			t.Error("it stands")
		}
		hold(other)
		hold(third)
		if r.Withdrawn(third); r.Promised(r.clock.now()) == 0 {
			t.Error("one of two leaders withdrew what both had")
		}
	})
	t.Run("but_what_the_leader_gave_back", func(t *testing.T) {
		r := newRig(t, Options{})
		given := recordOf(other, 3)
		given.Released = true
		r.store.put(given)
		r.turn(t.Context())
		if err := r.Promise(other, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(8*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := r.ByHand().Take(t.Context(), r.View().Version, next(r)); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("and_does_not_promise_with_a_take_under_way", func(t *testing.T) {
		r := free(t)
		asked := false
		r.store.before = func() {
			asked = true
			if err := r.Promise(other, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(time.Second)); !errors.Is(err, ErrBusy) {
				t.Errorf("during the take: %v", err)
			}
		}
		if err := r.ByHand().Take(t.Context(), r.View().Version, next(r)); err != nil || !asked {
			t.Fatal(err, asked)
		}
		if err := r.Promise(other, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(time.Second)); !errors.Is(err, ErrBusy) {
			t.Errorf("as the holder: %v", err)
		}
	})
	t.Run("nor_with_one_that_may_have_been_applied", func(t *testing.T) {
		r := free(t)
		r.store.loseAnswer = 1
		r.store.before = func() { r.store.deaf = true }
		if err := r.ByHand().Take(t.Context(), r.View().Version, next(r)); err == nil {
			t.Fatal("taken")
		}
		if err := r.Promise(other, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(time.Second)); !errors.Is(err, ErrBusy) {
			t.Errorf("not known what became of it: %v", err)
		}
		r.store.deaf, r.store.before = false, nil
		r.store.put(recordOf(other, 9)) // somebody was faster
		r.turn(t.Context())
		if err := r.Promise(other, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(time.Second)); err != nil {
			t.Errorf("known: %v", err)
		}
	})
	t.Run("a_leader_that_is_deposed_promises_to_the_next_one_only", func(t *testing.T) {
		r := free(t)
		if err := r.ByHand().Take(t.Context(), r.View().Version, next(r)); err != nil {
			t.Fatal(err)
		}
		own := r.View().Record.Epoch
		promise := func(of epoch.Epoch) error { return r.Promise(other, of, r.clock.now().Add(8*time.Second)) }
		if err := promise(own.NextLocal()); !errors.Is(err, ErrBusy) {
			t.Errorf("while it leads: %v", err)
		}
		r.store.deaf = true
		r.pass(time.Minute)
		if err := promise(own); !errors.Is(err, ErrBusy) {
			t.Errorf("to a leader of its own epoch: %v", err)
		}
		if err := promise(own.NextLocal()); err != nil || r.Promised(r.clock.now()) == 0 {
			t.Errorf("to a leader of a newer epoch: %v", err)
		}
	})
	t.Run("a_refused_take_is_over", func(t *testing.T) {
		r := free(t)
		r.store.before = func() { r.store.put(recordOf(other, 3)) }
		if err := r.ByHand().Take(t.Context(), r.View().Version, next(r)); err == nil {
			t.Fatal("taken")
		}
		if err := r.Promise(other, epoch.Epoch{Site: 1, Local: 3}, r.clock.now().Add(time.Second)); err != nil {
			t.Error(err)
		}
	})
}

// A leader that can read and not write is in trouble until a write is confirmed, however often it reads in between (SAFETY D30).
func TestWhatCanBeReadEndsNoTrouble(t *testing.T) {
	r := leading(t)
	refused := errors.New("403")
	r.store.refuse = refused
	for range 5 {
		r.pass(time.Second)
		r.turn(t.Context())
		if v := r.View(); v.Trouble == "" || !v.Mine {
			t.Fatalf("got %+v, want trouble", v)
		}
	}
	r.store.deaf, r.store.refuse = true, nil
	r.turn(t.Context())
	r.store.deaf = false
	r.store.loseRequest = 1
	r.turn(t.Context())
	if r.View().Trouble == "" {
		t.Error("a read ended the trouble")
	}
	r.turn(t.Context())
	if v := r.View(); v.Trouble != "" || v.Problem != "" {
		t.Errorf("a confirmed write did not end it: %+v", v)
	}
	r.store.refuse = refused
	r.turn(t.Context())
	r.store.put(recordOf(other, 4))
	r.turn(t.Context())
	if v := r.View(); v.Mine || v.Trouble != "" {
		t.Errorf("another's record is no trouble of this member's: %+v", v)
	}
}
