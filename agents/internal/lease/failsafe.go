package lease

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// stillness is what this member has promised to a leader that cannot reach the store: not to take the record (SAFETY rule 17). A promise and a
// take never cross: no promise is given while a take is under way, or may have been applied without an answer.
type stillness struct {
	sync.Mutex
	until  boottime.Instant
	to     grant.Incarnation // the leader who has it; none: several do
	taking bool
}

// ErrBusy says that no promise can be given now.
var ErrBusy = errors.New("the record is being taken by this member, or held by it")

// Promise makes this member take no record before an instant, however free it is. It is remembered by this process only: the next one
// has to see the record unchanged for its whole duration before it takes it, which is as long as any promise. of is the epoch of the leader who asks: a
// member that led until a newer one, and has not heard of that from the store, can only lose its next write, so it may promise.
func (l *Loop) Promise(to grant.Incarnation, of epoch.Epoch, until boottime.Instant) error {
	l.still.Lock()
	defer l.still.Unlock()
	v := l.View()
	if l.still.taking || v.Mine && (v.InForce(l.now()) || of.Compare(v.Record.Epoch) <= 0) {
		return ErrBusy
	}
	if l.still.to != to && l.now().Before(l.still.until) {
		to = grant.Incarnation{}
	}
	l.still.until, l.still.to = max(l.still.until, until), to
	return nil
}

// Withdrawn ends a promise that its leader needs no more: its server is proven stopped, and it has given up the right.
func (l *Loop) Withdrawn(by grant.Incarnation) {
	l.still.Lock()
	defer l.still.Unlock()
	if l.still.to == by {
		l.still.until = 0
	}
}

// Promised is for how long this member still holds still.
func (l *Loop) Promised(now boottime.Instant) time.Duration {
	l.still.Lock()
	defer l.still.Unlock()
	return max(0, l.still.until.Sub(now))
}

// begin marks that a take is being written, unless a promise stands against it. A leader that has given the record back needs none.
func (l *Loop) begin(released bool) error {
	l.still.Lock()
	defer l.still.Unlock()
	if left := l.still.until.Sub(l.now()); left > 0 && !released {
		return fmt.Errorf("take the record: promised to hold still for another %s: %w", left, ErrStale)
	}
	l.still.taking = true
	return nil
}

// settled marks that it is known what became of the last take.
func (l *Loop) settled() {
	l.still.Lock()
	defer l.still.Unlock()
	l.still.taking = false
}

// Prolong moves the end of this incarnation's right to what a renewal that was sent at base would have given. Only a round of failsafe in which
// all members of of promised to hold still, each after base and for the whole recorded duration, may ask for that. A right that has
// ended, or that of another reign, is not prolonged.
func (l *Loop) Prolong(base boottime.Instant, of record.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, now := l.View(), l.now()
	recalls := v.Recalls(now)
	if recalls {
		v.Record = *v.Recalled
	}
	switch {
	case !v.Mine && !recalls || v.Record.Epoch != of.Epoch || v.Record.Reign != of.Reign:
		return fmt.Errorf("prolong the right to write: another reign than that of the promises: %w", ErrStale)
	case !v.InForce(now) && !recalls:
		return fmt.Errorf("prolong the right to write: it has ended: %w", ErrStale)
	case now.Before(base):
		return fmt.Errorf("prolong the right to write: the promises are of later than now")
	}
	end := base.Add(min(l.timing.FenceAfter, time.Duration(v.Record.FenceAfter)))
	if !v.Deadline.Before(end) {
		return nil
	}
	if recalls {
		v.Record = record.Record{} // nothing was heard of it
	}
	v.Deadline, v.Failsafe = end, true
	l.view.Store(&v)
	l.changed(v)
	return nil
}
