package lease

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Timing is what this member writes into the record when it holds it.
type Timing struct {
	Duration   time.Duration
	FenceAfter time.Duration
	Renew      time.Duration // between two renewals, and between two looks of an observer
}

// retry is how soon a renewal that failed is tried again.
const retry = 200 * time.Millisecond

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
	// Changed is called by the loop, before it does anything else, whenever the view or the deadline changed. It must not block.
	Changed func(View)
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
	l := &Loop{store: o.Store, me: o.Me, timing: o.Timing, now: o.Now, changed: o.Changed,
		orders: make(chan order), nudge: make(chan struct{}, 1)}
	// The adopted deadline stands in the view from the start, but counts only together with Mine.
	l.view.Store(&View{Deadline: o.Adopted})
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
	started := l.now()
	if !l.View().Mine {
		l.observe(ctx)
	}
	if v := l.View(); v.Mine {
		if err := l.renew(ctx); err != nil {
			return retry
		}
	}
	// The interval is from start to start: a slow answer must not stretch the time between renewals.
	return max(l.timing.Renew-l.now().Sub(started), retry)
}

// observe reads the record.
func (l *Loop) observe(ctx context.Context) {
	r, version, err := l.store.Get(ctx)
	l.saw(r, version, err)
}

// saw takes in what a read answered. A read never extends a deadline; it can only show that the right is gone.
func (l *Loop) saw(r record.Record, version string, err error) {
	v, now := l.View(), l.now()
	switch {
	case err == nil:
		if v.Known != Present || v.Version != version {
			v.Since = now
		}
		v.Known, v.Record, v.Version, v.Seen, v.Mine = Present, r, version, true, r.HeldBy(l.me)
	case errors.Is(err, ErrAbsent):
		v.Known, v.Record, v.Version, v.Mine = Absent, record.Record{}, "", false
	case errors.Is(err, ErrBroken):
		v.Known, v.Record, v.Version, v.Mine = Broken, record.Record{}, version, false
	default:
		// Nothing was found out: all that was known still is.
		v.Problem = err.Error()
		l.publish(v)
		return
	}
	v.Answered, v.Problem = now, ""
	if errors.Is(err, ErrBroken) {
		v.Problem = err.Error()
	}
	if !v.Mine {
		v.Deadline = 0
	}
	l.publish(v)
}

func (l *Loop) publish(v View) {
	l.view.Store(&v)
	l.changed(v)
}

// renew writes the record again. The error says that the renewal was not confirmed, whatever the reason.
func (l *Loop) renew(ctx context.Context) error {
	v := l.View()
	next := l.stamp(v.Record.Clone())
	if n := l.news.Load(); n != nil && n.Record != nil {
		n.Record(&next)
	}
	base := l.lower(next)
	version, err := l.store.Replace(ctx, v.Version, next)
	if err == nil {
		l.won(next, version, base)
		return nil
	}
	v = l.View()
	v.Failures++
	v.Problem = err.Error()
	l.publish(v)
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrAbsent) {
		l.contested(ctx, next)
	}
	return err
}

// stamp makes r a record of this incarnation and different from all earlier ones.
func (l *Loop) stamp(r record.Record) record.Record {
	r.Format = max(r.Format, record.Format)
	r.Holder, r.Released = l.me, false
	r.Duration, r.FenceAfter = record.Duration(l.timing.Duration), record.Duration(l.timing.FenceAfter)
	r.Beat++
	return r
}

// lower reads the clock before a write is sent. If the write carries a shorter duration than the last one, the deadline comes down
// with it, before anybody can see the write: it may be applied although no answer comes (SAFETY D10).
func (l *Loop) lower(next record.Record) boottime.Instant {
	base := l.now()
	v := l.View()
	if end := base.Add(time.Duration(next.FenceAfter)); v.Mine && end.Before(v.Deadline) {
		v.Deadline = end
		l.publish(v)
	}
	return base
}

// won takes in a confirmed write that was sent at base.
func (l *Loop) won(r record.Record, version string, base boottime.Instant) {
	v, now := l.View(), l.now()
	v.Known, v.Record, v.Version, v.Since, v.Mine, v.Seen = Present, r, version, now, true, true
	v.Deadline = base.Add(time.Duration(r.FenceAfter))
	v.Answered, v.Problem = now, ""
	v.Renewals++
	l.publish(v)
}

// contested finds out what stands where our record was. ours is what we tried to write.
//
// If our incarnation still holds it, an earlier write of ours was applied without an answer, or somebody left us a word in it; the next
// turn goes on from there, and nothing was extended. If the record is gone, unreadable, or an earlier one, the store was damaged or
// set back: as long as our grant is in force nobody else can have taken over, and we write it again (SAFETY D12). Anything else is
// another holder: lost.
func (l *Loop) contested(ctx context.Context, ours record.Record) {
	r, version, err := l.store.Get(ctx)
	before := l.View()
	setBack := err == nil && r.SystemID == ours.SystemID &&
		(r.Epoch.Compare(ours.Epoch) < 0 || r.HeldBy(l.me) && r.Epoch == ours.Epoch && r.Beat < before.Record.Beat)
	damaged := errors.Is(err, ErrAbsent) || errors.Is(err, ErrBroken) || setBack
	if !damaged || !before.InForce(l.now()) {
		l.saw(r, version, err)
		return
	}
	base := l.lower(ours)
	if errors.Is(err, ErrAbsent) {
		version, err = l.store.Create(ctx, ours)
	} else {
		version, err = l.store.Replace(ctx, version, ours)
	}
	if err != nil {
		v := l.View()
		v.Problem = fmt.Errorf("write the record again after it was removed or set back: %w", err).Error()
		l.publish(v)
		return
	}
	l.won(ours, version, base)
}
