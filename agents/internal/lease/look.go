package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// look finds out what stands in the store. An error means that this was not found out.
//
// If our incarnation holds the record, it goes on from what stands there: an earlier write of ours that was applied without an answer, or a word
// that somebody left us in it. Nothing is extended by that. If the record is gone, unreadable, or an earlier one, the store was damaged or
// set back: as long as our grant is in force nobody else can have taken over, and we write it again (SAFETY D12). Anything else is another holder.
func (l *Loop) look(ctx context.Context) error {
	r, version, err := l.get(ctx)
	v := l.View()
	known := v.Record
	setBack := err == nil && r.SystemID == known.SystemID &&
		(r.Epoch.Compare(known.Epoch) < 0 || r.HeldBy(l.me) && r.Epoch == known.Epoch && r.Beat < known.Beat)
	damaged := errors.Is(err, ErrAbsent) || errors.Is(err, ErrBroken) || setBack
	if damaged && v.InForce(l.now()) {
		return l.repair(ctx, version)
	}
	l.saw(r, version, err)
	if l.missed > 0 {
		return err
	}
	l.unsure = false
	l.settled()
	return nil
}

// repair writes our record over a damaged one at version; empty: where none is.
func (l *Loop) repair(ctx context.Context, version string) error {
	ours := l.stamp(l.View().Record.Clone())
	base := l.lower(ours)
	version, err := l.write(ctx, version, ours)
	if err != nil {
		l.update(func(v *View) {
			v.Problem = fmt.Errorf("write the record again after it was removed or set back: %w", err).Error()
			v.Trouble = v.Problem
		})
		l.unsure = true
		return err
	}
	l.won(ours, version, base)
	return nil
}

// saw takes in what a read answered. A read never extends a deadline; it can only show that the right is gone.
func (l *Loop) saw(r record.Record, version string, err error) {
	if err == nil {
		defer l.noteEpoch(r)
	}
	l.update(func(v *View) { l.learn(v, r, version, err) })
}

func (l *Loop) learn(v *View, r record.Record, version string, err error) {
	now, since := l.now(), v.AbsentSince
	v.AbsentSince = 0
	switch {
	case err == nil:
		if v.Known != Present || v.Version != version {
			v.Since = now
		}
		// A record of ours that is older than one we have known was brought back: it is no right to anything.
		v.Mine = r.HeldBy(l.me) && !l.older(r)
		v.Known, v.Record, v.Version, v.Seen = Present, r, version, true
		v.AbsentWait = max(l.timing.Duration, time.Duration(r.Duration))
	case errors.Is(err, ErrAbsent):
		if v.AbsentSince = since; since == 0 {
			v.AbsentSince = now
		}
		v.Known, v.Record, v.Version, v.Mine = Absent, record.Record{}, "", false
	case errors.Is(err, ErrBroken):
		v.Known, v.Record, v.Version, v.Mine = Broken, record.Record{}, version, false
	default:
		// Nothing was found out: all that was known still is, but the record may have been there in between.
		v.Problem = err.Error()
		if v.Mine || v.Known == Unreachable && v.Recalled != nil {
			v.Trouble = v.Problem
		}
		return
	}
	v.Recalled = nil // from here on the store's word counts
	v.Answered, v.Problem = now, ""
	if errors.Is(err, ErrBroken) {
		v.Problem = err.Error()
	}
	if !v.Mine {
		v.Deadline, v.Failsafe, v.Trouble = 0, false, ""
	}
}

// older reports whether r is of an earlier epoch than this process has known of the same database.
func (l *Loop) older(r record.Record) bool {
	return r.SystemID == l.systemID && r.Epoch.Compare(l.highest) < 0
}

func (l *Loop) noteEpoch(r record.Record) {
	if !l.older(r) {
		l.highest, l.systemID = r.Epoch, r.SystemID
	}
}

// update changes what is known and tells of it.
func (l *Loop) update(change func(*View)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.View()
	change(&v)
	l.view.Store(&v)
	l.changed(v)
}
