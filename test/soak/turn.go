package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"
)

const (
	// recovery is how long the release may take to be whole after a fault is healed: a lease, an election, a rewind, on a busy machine.
	recovery = 4 * time.Minute
	// rowBytes is about what a row of the writer takes in WAL, with its index and commit.
	rowBytes = 300
	// maxLag is failover.maxLagOnFailover's default.
	maxLag = 16 << 20
)

// event is a fault that happened.
type event struct {
	At    float64 `json:"at"` // seconds since the turn began
	Fault string  `json:"fault"`
}

// load is what clients do during a turn.
type load struct {
	w    *writer.Writer
	h    *history
	held []*writer.Writer
	stop context.CancelFunc
	all  sync.WaitGroup
	ctx  context.Context
	app  cluster.App
}

func (s *soak) begin(ctx context.Context) (*load, error) {
	l := &load{h: &history{}, app: s.app}
	l.w = &writer.Writer{Table: "soak_writes", Reigns: true}
	own := l.app
	own.OnNotice = l.w.OnNotice
	l.w.Connect = own.Connect
	if err := l.w.Prepare(ctx); err != nil {
		return nil, err
	}
	conn, err := l.app.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "drop table if exists soak_registers; create table soak_registers (key int primary key, value bigint not null)"); err != nil {
		return nil, err
	}
	l.ctx, l.stop = context.WithCancel(ctx)
	l.all.Go(func() { l.w.Run(l.ctx) })
	for id := range clients {
		var warning atomic.Bool
		app := l.app
		app.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
			if n.Code == "01000" {
				warning.Store(true)
			}
		}
		l.all.Go(func() { l.h.client(l.ctx, id, app.Connect, func() bool { return warning.Swap(false) }) })
	}
	return l, nil
}

// hold opens one more session that is kept for ever.
func (l *load) hold() {
	first := int64(len(l.held)+1) << 40
	w := &writer.Writer{Table: "soak_writes", Reigns: true, Interval: 100 * time.Millisecond, First: first, Once: true, Deadline: time.Hour}
	own := l.app
	own.OnNotice = w.OnNotice
	w.Connect = own.Connect
	l.held = append(l.held, w)
	l.all.Go(func() { w.Run(l.ctx) })
}

// turn runs one mode's faults under load and judges what came of it.
func (s *soak) turn(ctx context.Context, n int, t turn, sum *summary) error {
	c, cancel := context.WithTimeout(ctx, recovery)
	err := s.become(c, t.mode)
	cancel()
	if err != nil {
		return fmt.Errorf("turn %d: %w", n, err)
	}
	l, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("turn %d: %w", n, err)
	}
	defer func() { l.stop(); l.all.Wait() }()
	s.say("turn %d: %s for %s", n, t.mode, t.length)
	began := time.Now()
	var events []event
	failed := func(err error) error {
		var b strings.Builder
		for _, e := range events {
			fmt.Fprintf(&b, "\n  %7.2f s  %s", e.At, e.Fault)
		}
		s.evidence(context.WithoutCancel(ctx), fmt.Sprintf("seed-%d-turn-%d", s.o.seed, n))
		return fmt.Errorf("seed %d, turn %d (%s, began %s UTC): %w\nfaults of the turn:%s", s.o.seed, n, t.mode, began.UTC().Format("15:04:05.000"), err, b.String())
	}
	for _, f := range t.faults {
		if time.Since(began) > t.length || ctx.Err() != nil {
			break
		}
		if err := pause(ctx, f.after); err != nil {
			break
		}
		l.hold()
		told := func(text string) {
			events = append(events, event{time.Since(began).Seconds(), text})
			s.say("  %s", text)
		}
		if err := s.happen(ctx, f, told); err != nil {
			return failed(err)
		}
		sum.of(t.mode).Faults++
		c, cancel := context.WithTimeout(ctx, recovery)
		err := s.whole(c, false)
		cancel()
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return failed(fmt.Errorf("after %s: %w", f, err))
		}
	}
	l.stop()
	l.all.Wait()
	if err := s.judge(context.WithoutCancel(ctx), l, sum.of(t.mode), t.mode); err != nil {
		return failed(err)
	}
	return nil
}

// happen brings a fault about, and its second one, and undoes both in the order in which their times are over.
func (s *soak) happen(ctx context.Context, f fault, told func(string)) error {
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), recovery) // what has begun is undone, also when the run is interrupted
	defer cancel()
	first, err := s.strike(c, f)
	told(f.String())
	if err != nil {
		return err
	}
	end := time.Now().Add(f.lasts)
	var second func(context.Context) error
	if f.also != nil && pause(ctx, f.also.after) == nil {
		// The API may be down now, or who is to be met away: then there is no second fault.
		short, cancel := context.WithTimeout(c, 5*time.Second)
		var err error
		if second, err = s.strike(short, *f.also); err != nil {
			told("no " + f.also.String() + ": " + err.Error())
		}
		cancel()
		later := time.Now().Add(f.also.lasts)
		if later.After(end) {
			end = later
		}
	}
	_ = pause(ctx, time.Until(end)) // interrupted: undone at once
	undo := []func(context.Context) error{first, second}
	return cluster.Wait(c, "the faults are undone", func(ctx context.Context) (bool, string, error) {
		// One may be in the way of the other: no word reaches a keeper while the API is down.
		var problems []error
		for i, f := range undo {
			if f == nil {
				continue
			}
			if err := f(ctx); err != nil {
				problems = append(problems, err)
				continue
			}
			undo[i] = nil
		}
		return len(problems) == 0, "", errors.Join(problems...)
	})
}

// judge compares what was acknowledged with what is there.
func (s *soak) judge(ctx context.Context, l *load, f *figures, mode string) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	if err := s.whole(ctx, true); err != nil {
		return err
	}
	conn, err := l.app.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := writer.Rows(ctx, conn, "soak_writes")
	if err != nil {
		return err
	}
	own := map[int64]bool{}
	for id := range rows {
		if id < 1<<40 {
			own[id] = true
		}
	}
	log := l.w.Log()
	o := writer.Judge(log, own, log[0].Sent, time.Time{})
	f.Acked += o.Acked
	f.InDoubt += o.InDoubt
	f.Lost += len(o.Lost)
	f.Overlap = max(f.Overlap, o.Overlap.Seconds())
	f.LongestGap = max(f.LongestGap, o.Gap.Seconds())
	var problems []error
	for _, h := range l.held {
		lostHeld := 0
		for _, a := range h.Log() {
			if !a.Acked.IsZero() && !a.Warned && !rows[a.ID] {
				lostHeld++
			}
		}
		f.Lost += lostHeld
		if lostHeld > 0 && mode != modeAsync {
			problems = append(problems, fmt.Errorf("%d acknowledged rows of a held session are lost", lostHeld))
		}
		if d := writer.Zombie(log, h.Log()); d > 0 {
			f.Overlap = max(f.Overlap, d.Seconds())
			problems = append(problems, fmt.Errorf("a session that was held open got an acknowledgement %s after another server's first", d))
		}
	}
	if o.Overlap > 0 {
		problems = append(problems, fmt.Errorf("two servers acknowledged at once for %s", o.Overlap))
	}
	if len(o.Phantom) > 0 {
		problems = append(problems, fmt.Errorf("rows that nobody wrote: %v", o.Phantom))
	}
	switch lost := len(o.Lost); {
	case lost > 0 && mode != modeAsync:
		problems = append(problems, fmt.Errorf("%d acknowledged rows are lost: %v", lost, o.Lost))
	case lost*rowBytes > maxLag:
		problems = append(problems, fmt.Errorf("%d acknowledged rows are lost, about %d bytes: more than maxLagOnFailover", lost, lost*rowBytes))
	case lost > 0:
		s.say("  %d acknowledged rows are lost, about %d bytes, as asynchronous mode allows", lost, lost*rowBytes)
	}
	verdict, err := l.h.check(time.Minute)
	f.Operations += len(l.h.ops)
	f.Histories = append(f.Histories, verdict)
	switch {
	case err != nil && mode == modeAsync:
		s.say("  as asynchronous mode allows: %v", err) // a lost write is a register that goes back
	case err != nil:
		problems = append(problems, err)
	}
	s.say("  %s", o)
	return errors.Join(problems...)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
