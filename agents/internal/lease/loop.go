package lease

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Timing is what this member writes into the record when it holds it.
type Timing struct {
	Duration   time.Duration
	FenceAfter time.Duration
	Renew      time.Duration // between two renewals, and between two looks of an observer
}

const (
	// retry is how soon a request that failed is tried again.
	retry = 200 * time.Millisecond
	// firstPatience is what a first request may take.
	firstPatience = time.Second
)

// News is what a holder adds to the record at its next renewal. It is one value, replaced as a whole.
type News struct {
	Record func(*record.Record)
}

// Loop observes and renews the record. Run owns all state; the other methods may be called from anywhere.
type Loop struct {
	store   Store
	me      grant.Incarnation
	timing  Timing
	now     func() boottime.Instant
	changed func(View)
	relay   Relay

	// missed counts requests in a row without an answer. late: the last write was not answered within the first patience; a read, which is quicker,
	// says nothing about that. unsure: a write may or may not have been applied. pace: when to look next. All are Run's own.
	missed int
	late   bool
	unsure bool
	pace   pace
	// highest is the newest epoch that this process has known of the database systemID.
	highest  epoch.Epoch
	systemID string

	// update holds it, so that a prolongation from outside and what the loop finds out never undo each other. The view is read without it.
	mu    sync.Mutex
	still stillness

	view   atomic.Pointer[View]
	news   atomic.Pointer[News]
	orders chan order
	nudge  chan struct{}
}

// Options of a Loop.
type Options struct {
	Store  Store
	Me     grant.Incarnation
	Timing Timing
	// Adopted is the deadline of an unexpired grant that an earlier process of this incarnation left behind (SAFETY D39). It counts
	// only if the store still says that this incarnation holds the record.
	Adopted boottime.Instant
	// Recalled is the record of that grant's reign, as the earlier process last had it confirmed; nil: it is not known.
	Recalled *record.Record
	// Changed is called by the loop, before it does anything else, whenever the view or the deadline changed. It must not block.
	Changed func(View)
	// Relay has another member write this one's last version of the record, when the store does not answer. nil: nobody does.
	Relay Relay
	// Now reads the boot clock; nil means the real one.
	Now func() boottime.Instant
}

// New makes a loop; nothing is asked before Run.
func New(o Options) *Loop {
	if o.Now == nil {
		o.Now = boottime.Now
	}
	if o.Changed == nil {
		o.Changed = func(View) {}
	}
	l := &Loop{store: o.Store, me: o.Me, timing: o.Timing, now: o.Now, changed: o.Changed, relay: o.Relay,
		orders: make(chan order), nudge: make(chan struct{}, 1)}
	// The adopted deadline stands in the view from the start, but counts only together with Mine.
	l.view.Store(&View{Deadline: o.Adopted, Recalled: o.Recalled, AbsentWait: o.Timing.Duration})
	return l
}

// View returns what is known now.
func (l *Loop) View() View { return *l.view.Load() }

// Carry makes the next renewals change the record by n. Only the holder's do.
func (l *Loop) Carry(n News) { l.news.Store(&n) }

// Nudge asks for the next look or renewal at once.
func (l *Loop) Nudge() {
	select {
	case l.nudge <- struct{}{}:
	default:
	}
}

// Run observes and renews until ctx ends. A panic in here is not recovered: the process ends, the grant ends by itself, and the
// next process adopts what is left of it. Going on with a state that nobody understands would be worse.
func (l *Loop) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := l.timing.Renew
		select {
		case <-ctx.Done():
			return
		case o := <-l.orders:
			o.done <- l.obey(ctx, o)
		case <-l.nudge:
			wait = l.turn(ctx)
		case <-timer.C:
			wait = l.turn(ctx)
		}
		timer.Reset(wait)
	}
}

// turn looks or renews once and returns how long to wait for the next one.
func (l *Loop) turn(ctx context.Context) time.Duration {
	started, before := l.now(), l.View().Version
	if !l.View().Mine || l.unsure {
		if err := l.look(ctx); err != nil {
			return retry
		}
	}
	if l.View().Mine {
		err := l.renew(ctx)
		if err != nil && !l.unsure && l.View().Mine {
			err = l.renew(ctx) // the look after a conflict has found our own record
		}
		if err != nil {
			return retry
		}
	}
	// The interval is from start to start: a slow answer must not stretch the time between renewals.
	took := l.now().Sub(started)
	if v := l.View(); !v.Mine {
		return max(l.pace.next(v.Version != before, l.timing.Renew)-took, retry/4)
	}
	return max(l.timing.Renew-took, retry)
}

// patience is what one request may take. The first one is given a second: its connection may lead to a server that is gone, and the next one
// dials anew. After that the store is rather slow than gone, and hurrying would make each write one whose answer comes too late.
func (l *Loop) patience(slow bool) time.Duration {
	if !slow {
		return firstPatience
	}
	return min(2*firstPatience, max(l.timing.FenceAfter/3, firstPatience))
}

func (l *Loop) writePatience() time.Duration { return l.patience(l.missed > 0 || l.late) }

// asked notes whether the store has answered.
func (l *Loop) asked(err error) {
	if err == nil || errors.Is(err, ErrConflict) || errors.Is(err, ErrAbsent) || errors.Is(err, ErrBroken) {
		l.missed = 0
		return
	}
	l.missed++
}

func (l *Loop) get(ctx context.Context) (record.Record, string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience(l.missed > 0))
	defer cancel()
	r, version, err := l.store.Get(ctx)
	l.asked(err)
	return r, version, err
}

// write stores r at version, or as the first record if version is empty. Unless the store says yes or no, it is not known whether it did, and
// the next turn looks before it writes.
func (l *Loop) write(ctx context.Context, version string, r record.Record) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.writePatience())
	defer cancel()
	var made string
	var err error
	began := l.now()
	if version == "" {
		made, err = l.store.Create(ctx, r)
	} else {
		made, err = l.store.Replace(ctx, version, r)
	}
	l.asked(err)
	l.unsure = l.missed > 0
	l.late = l.unsure || l.now().Sub(began) > firstPatience
	return made, err
}

// renew writes the record again. The error says that the renewal was not confirmed, whatever the reason.
func (l *Loop) renew(ctx context.Context) error {
	v := l.View()
	next := l.stamp(v.Record.Clone())
	if n := l.news.Load(); n != nil && n.Record != nil {
		n.Record(&next)
	}
	base := l.lower(next)
	version, err := l.write(ctx, v.Version, next)
	if err == nil {
		l.won(next, version, base)
		return nil
	}
	l.update(func(v *View) {
		v.Failures++
		v.Problem, v.Trouble = err.Error(), err.Error()
	})
	if !l.unsure { // a clear no
		if lookErr := l.look(ctx); lookErr != nil {
			l.unsure = true
		}
	}
	return err
}

// stamp makes r a record of this incarnation and different from all earlier ones.
func (l *Loop) stamp(r record.Record) record.Record {
	r.Format = max(r.Format, record.Format)
	r.Holder, r.Released, r.Vacated = l.me, false, epoch.Version{}
	r.Duration, r.FenceAfter = record.Duration(l.timing.Duration), record.Duration(l.timing.FenceAfter)
	r.Beat++
	if v := l.View(); v.Known == Present {
		r.Elapse(l.now().Sub(v.Since))
	}
	return r
}

// lower reads the clock before a write is sent. If the write carries a shorter duration than the last one, the deadline comes down
// with it, before anybody can see the write: it may be applied although no answer comes (SAFETY D10).
func (l *Loop) lower(next record.Record) boottime.Instant {
	base := l.now()
	if end := base.Add(time.Duration(next.FenceAfter)); l.View().Mine && end.Before(l.View().Deadline) {
		l.update(func(v *View) { v.Deadline = min(v.Deadline, end) })
	}
	return base
}

// won takes in a confirmed write that was sent at base.
func (l *Loop) won(r record.Record, version string, base boottime.Instant) {
	now := l.now()
	l.noteEpoch(r)
	l.update(func(v *View) {
		// What failsafe has given in this reign still stands.
		end := base.Add(time.Duration(r.FenceAfter))
		if v.Mine && v.Failsafe && v.Record.Epoch == r.Epoch && v.Record.Reign == r.Reign {
			end = max(end, v.Deadline)
		}
		v.Known, v.Record, v.Version, v.Since, v.Mine, v.Seen = Present, r, version, now, true, true
		v.AbsentSince, v.AbsentWait = 0, max(l.timing.Duration, time.Duration(r.Duration))
		v.Deadline, v.Failsafe = end, false
		v.Answered, v.Problem, v.Trouble = now, "", ""
		v.Renewals++
	})
}
