package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestChange(t *testing.T) {
	pause := func(r *record.Record) error {
		r.Pause = &record.Pause{ID: "p", Left: record.Duration(time.Minute)}
		return nil
	}
	by := func(r *rig, f func(*record.Record) error) error {
		return r.obey(t.Context(), order{what: change, change: f})
	}
	t.Run("is_one_write_that_renews_too", func(t *testing.T) {
		r := leading(t)
		r.Carry(News{Record: func(r *record.Record) { r.LSN = 77 }})
		r.pass(2 * time.Second)
		if err := by(r, pause); err != nil {
			t.Fatal(err)
		}
		if r.store.rec.Pause == nil || r.store.rec.LSN != 77 || r.View().Record.Pause == nil {
			t.Errorf("got %+v", r.store.rec)
		}
		r.want(5*time.Second, true)
	})
	t.Run("of_a_record_that_is_not_in_force_is_refused", func(t *testing.T) {
		r := leading(t)
		r.pass(5 * time.Second)
		if err := by(r, pause); !errors.Is(err, ErrStale) || r.store.rec.Pause != nil {
			t.Errorf("got %v, %+v", err, r.store.rec.Pause)
		}
	})
	t.Run("that_refuses_itself_writes_nothing", func(t *testing.T) {
		r := leading(t)
		before := r.store.version
		no := errors.New("no")
		if err := by(r, func(*record.Record) error { return no }); !errors.Is(err, no) || r.store.version != before {
			t.Errorf("got %v", err)
		}
	})
	t.Run("that_was_not_confirmed_is_an_error_and_extends_nothing", func(t *testing.T) {
		r := leading(t)
		r.pass(time.Second)
		r.store.loseAnswer = 1
		if err := by(r, pause); err == nil {
			t.Fatal("got no error for a write without an answer")
		}
		r.want(4*time.Second, true)
		if r.View().Record.Pause == nil {
			t.Error("the look afterwards has not found it")
		}
	})
	t.Run("under_another_holder_is_a_conflict", func(t *testing.T) {
		r := leading(t)
		r.store.put(recordOf(other, 4))
		if err := by(r, pause); !errors.Is(err, ErrConflict) || r.store.rec.Pause != nil {
			t.Errorf("got %v", err)
		}
		r.want(0, false)
	})
	t.Run("counts_down_with_every_write_also_after_failed_ones", func(t *testing.T) {
		r := leading(t)
		if err := by(r, pause); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.store.loseRequest = 1
		r.turn(t.Context())
		r.pass(time.Second)
		r.turn(t.Context())
		r.pass(time.Second)
		r.turn(t.Context())
		if got := time.Duration(r.store.rec.Pause.Left); got != 57*time.Second {
			t.Errorf("got %v left after 3 s of a minute", got)
		}
	})
}
