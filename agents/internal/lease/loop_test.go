package lease

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestDeadlineCountsFromBeforeTheRequestWasSent(t *testing.T) {
	r := leading(t)
	r.store.slow = 700 * time.Millisecond
	r.turn(t.Context())
	r.want(5*time.Second-700*time.Millisecond, true)
}

func TestAnswerThatDoesNotComeExtendsNothing(t *testing.T) {
	for name, lose := range map[string]func(*memory){
		"request_lost":    func(m *memory) { m.loseRequest = 1 },
		"answer_lost":     func(m *memory) { m.loseAnswer = 1 },
		"store_is_silent": func(m *memory) { m.deaf = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := leading(t)
			r.pass(time.Second)
			lose(r.store)
			r.turn(t.Context())
			r.want(4*time.Second, true)
			r.pass(4 * time.Second)
			r.want(0, true)
			if got := r.View().Failures; got != 1 {
				t.Errorf("got %d failures, want 1", got)
			}
		})
	}
}

// The lost answer leaves the store a version ahead. The next turn looks first, finds its own record, extends nothing by that, and renews from there.
func TestAppliedWriteWithoutAnswerIsFoundAndRenewedFrom(t *testing.T) {
	r := leading(t)
	r.store.loseAnswer = 1
	r.pass(time.Second)
	r.turn(t.Context())
	r.pass(time.Second)
	r.store.loseRequest = 1 // of the renewal that follows the look
	r.turn(t.Context())
	r.want(3*time.Second, true)
	if r.View().Record.Beat != r.store.rec.Beat {
		t.Errorf("its own write was not found: knows beat %d, stored %d", r.View().Record.Beat, r.store.rec.Beat)
	}
	r.turn(t.Context())
	r.want(5*time.Second, true)
}

func TestAnotherHolderEndsTheRightAtOnce(t *testing.T) {
	var seen []View
	r := newRig(t, Options{Changed: func(v View) { seen = append(seen, v) }})
	r.store.put(recordOf(me, 3))
	r.turn(t.Context())
	r.store.put(recordOf(other, 4))
	r.turn(t.Context())
	r.want(0, false)
	if last := seen[len(seen)-1]; last.Mine || last.Deadline != 0 || last.Record.Holder != other {
		t.Errorf("last view told: %+v", last)
	}
	// Even an other holder of the same epoch ends it.
	r = leading(t)
	r.store.put(recordOf(other, 3))
	r.turn(t.Context())
	r.want(0, false)
}

func TestDurationsOfThePresentRenewalCount(t *testing.T) {
	t.Run("shorter_even_if_the_answer_is_lost", func(t *testing.T) {
		r := newRig(t, Options{Timing: Timing{Duration: 4 * time.Second, FenceAfter: 2 * time.Second, Renew: time.Second}, Adopted: boottime.Instant(1000).Add(15 * time.Second)})
		r.store.put(recordOf(me, 3))
		r.store.loseAnswer = 1
		r.turn(t.Context())
		// Others may have seen the new record and wait 4 s only.
		r.want(2*time.Second, true)
	})
	t.Run("shorter_even_if_the_request_is_lost", func(t *testing.T) {
		r := newRig(t, Options{Timing: Timing{Duration: 4 * time.Second, FenceAfter: 2 * time.Second, Renew: time.Second}, Adopted: boottime.Instant(1000).Add(15 * time.Second)})
		r.store.put(recordOf(me, 3))
		r.store.loseRequest = 1
		r.turn(t.Context())
		r.want(2*time.Second, true)
	})
	t.Run("longer_only_when_confirmed", func(t *testing.T) {
		r := newRig(t, Options{Timing: Timing{Duration: 40 * time.Second, FenceAfter: 20 * time.Second, Renew: time.Second}, Adopted: boottime.Instant(1000).Add(3 * time.Second)})
		r.store.put(recordOf(me, 3))
		r.store.loseAnswer = 1
		r.turn(t.Context())
		r.want(3*time.Second, true)
		r.turn(t.Context())
		r.want(20*time.Second, true)
		if got := r.store.rec.Duration; got != record.Duration(40*time.Second) {
			t.Errorf("recorded duration: got %v, want 40s", got)
		}
	})
}

func TestAdoptedGrantCountsOnlyWithTheRecord(t *testing.T) {
	adopted := boottime.Instant(1000).Add(3 * time.Second)
	t.Run("store_silent", func(t *testing.T) {
		r := newRig(t, Options{Adopted: adopted})
		r.store.deaf = true
		r.turn(t.Context())
		r.want(0, false)
	})
	t.Run("another_holds_it", func(t *testing.T) {
		r := newRig(t, Options{Adopted: adopted})
		r.store.put(recordOf(other, 4))
		r.turn(t.Context())
		r.want(0, false)
		if d := r.View().Deadline; d != 0 {
			t.Errorf("deadline: got %d, want none", d)
		}
	})
	t.Run("renewal_fails", func(t *testing.T) {
		r := newRig(t, Options{Adopted: adopted})
		r.store.put(recordOf(me, 3))
		r.store.loseRequest = 1
		r.turn(t.Context())
		r.want(3*time.Second, true)
	})
}

func TestRenewalAfterTheDeadlineBringsTheRightBack(t *testing.T) {
	r := leading(t)
	r.store.deaf = true
	r.pass(30 * time.Second)
	r.turn(t.Context())
	r.want(0, true)
	r.store.deaf = false
	r.turn(t.Context())
	r.want(5*time.Second, true)
}

func TestEachRenewalDiffersFromTheLast(t *testing.T) {
	r := leading(t)
	beat, version := r.store.rec.Beat, r.store.version
	r.turn(t.Context())
	if r.store.rec.Beat != beat+1 || r.store.version != version+1 {
		t.Errorf("got beat %d version %d, want %d %d", r.store.rec.Beat, r.store.version, beat+1, version+1)
	}
}

func TestNewsIsCarriedByTheHolderOnly(t *testing.T) {
	r := leading(t)
	r.Carry(News{Record: func(n *record.Record) { n.LSN = 77 }})
	r.turn(t.Context())
	if got := r.store.rec.LSN; got != 77 {
		t.Errorf("got LSN %v, want 0/4D", got)
	}
	r.store.put(recordOf(other, 4))
	r.turn(t.Context())
	r.turn(t.Context())
	if r.store.rec.LSN == 77 || r.store.rec.Holder != other {
		t.Errorf("another's record was changed: %+v", r.store.rec)
	}
}

// SAFETY D12: the store lost the record, or was restored from a backup.
func TestDamagedStore(t *testing.T) {
	for name, damage := range map[string]func(*memory){
		"lease_deleted":                func(m *memory) { m.version = 0 },
		"annotation_removed_by_hand":   func(m *memory) { m.broken = true; m.version++ },
		"restored_with_older_epoch":    func(m *memory) { m.put(recordOf(other, 2)) },
		"restored_with_own_older":      func(m *memory) { m.put(recordOf(me, 2)) },
		"restored_with_own_older_beat": func(m *memory) { r := recordOf(me, 3); r.Beat = 1; m.put(r) },
	} {
		t.Run(name, func(t *testing.T) {
			r := leading(t)
			r.pass(time.Second)
			damage(r.store)
			beat := r.View().Record.Beat
			r.turn(t.Context())
			r.want(5*time.Second, true)
			if got := r.store.rec; got.Holder != me || got.Epoch.Local != 3 || got.Beat <= beat {
				t.Errorf("stored: %+v", got)
			}
		})
		t.Run(name+"_after_the_grant_ended", func(t *testing.T) {
			r := leading(t)
			r.pass(6 * time.Second)
			damage(r.store)
			before := r.store.rec
			r.turn(t.Context())
			if name == "restored_with_own_older_beat" {
				return // its own record of its own epoch: it goes on from there
			}
			r.turn(t.Context())
			if r.left() != 0 {
				t.Errorf("got %v left, want none", r.left())
			}
			if r.store.version == 0 || r.store.rec.Holder != before.Holder || r.store.rec.Epoch != before.Epoch {
				if name != "lease_deleted" {
					t.Errorf("rewritten without force: %+v", r.store.rec)
				}
			}
		})
	}
}

// The rewritten record must not overwrite one that appeared in between.
func TestDamagedStoreIsRepairedByCompareAndSetOnly(t *testing.T) {
	r := leading(t)
	r.store.version = 0
	r.store.before = func() { // between the look and the write
		r.store.before = nil
		r.store.before = func() { r.store.before = nil; r.store.put(recordOf(other, 9)) }
	}
	r.turn(t.Context())
	if r.store.rec.Holder == me && r.store.rec.Epoch.Local == 9 {
		t.Errorf("overwritten: %+v", r.store.rec)
	}
}

// A store that takes longer than the first patience answers every write too late. It must not cost the right to write for ever.
func TestSlowStoreIsGivenMoreTime(t *testing.T) {
	r := leading(t)
	expect := func(what string, more bool) {
		t.Helper()
		if got := r.writePatience(); (got > time.Second) != more || got > 2*time.Second {
			t.Errorf("%s: the next write is given %v", what, got)
		}
	}
	expect("first request", false)
	r.store.deaf = true
	r.turn(t.Context())
	expect("after a silence", true)
	r.store.deaf = false
	r.turn(t.Context())
	expect("after an answer", false)

	// Writes take 1.5 s and reads are quick: a read must not make the next write one that is given up again.
	r.store.loseRequest = 1
	r.turn(t.Context())
	if err := r.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("after a write that was not answered and a read that was", true)
	r.store.slow = 1500 * time.Millisecond
	if err := r.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("after a write that took long", true)
	r.store.slow = 0
	r.turn(t.Context())
	expect("after a write that did not", false)
}

// A conflict is a clear answer: no time is lost before the next renewal.
func TestConflictWithOnesOwnRecordIsRenewedInTheSameTurn(t *testing.T) {
	r := leading(t)
	noted := r.store.rec.Clone()
	noted.LSN = 0x55 // somebody left a word in our record
	r.store.put(noted)
	r.turn(t.Context())
	r.want(5*time.Second, true)
	if r.store.rec.LSN != 0x55 || r.store.rec.Beat != noted.Beat+1 {
		t.Errorf("stored: %+v", r.store.rec)
	}
}
