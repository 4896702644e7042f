package lease

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

var errLost = errors.New("no answer")

// memory is a linearizable store that can lose requests and answers, as a network does.
type memory struct {
	rec     record.Record
	version int // 0: absent
	broken  bool
	refuse  error // reads are answered, and writes with this

	loseRequest, loseAnswer int           // how many of the next writes
	deaf                    bool          // reads and writes get no answer and do nothing
	slow                    time.Duration // each request takes this long
	clock                   *clock
	before                  func() // runs before a write is applied
}

type clock struct{ t boottime.Instant }

func (c *clock) now() boottime.Instant { return c.t }

func (m *memory) enter() error {
	m.clock.t = m.clock.t.Add(m.slow)
	if m.deaf {
		return errLost
	}
	return nil
}

func (m *memory) Get(context.Context) (record.Record, string, error) {
	if err := m.enter(); err != nil {
		return record.Record{}, "", err
	}
	switch {
	case m.version == 0:
		return record.Record{}, "", ErrAbsent
	case m.broken:
		return record.Record{}, strconv.Itoa(m.version), ErrBroken
	}
	return m.rec, strconv.Itoa(m.version), nil
}

func (m *memory) write(ok func() error, r record.Record) (string, error) {
	if err := m.enter(); err != nil {
		return "", err
	}
	if m.refuse != nil {
		return "", m.refuse
	}
	if m.loseRequest > 0 {
		m.loseRequest--
		return "", errLost
	}
	if m.before != nil {
		m.before()
	}
	if err := ok(); err != nil {
		return "", err
	}
	m.rec, m.broken = r, false
	m.version++
	if m.loseAnswer > 0 {
		m.loseAnswer--
		return "", errLost
	}
	return strconv.Itoa(m.version), nil
}

func (m *memory) Create(_ context.Context, r record.Record) (string, error) {
	return m.write(func() error {
		if m.version != 0 {
			return ErrConflict
		}
		m.version = 100 // a new object's versions follow those of the removed one
		return nil
	}, r)
}

func (m *memory) Replace(_ context.Context, version string, r record.Record) (string, error) {
	return m.write(func() error {
		switch {
		case m.version == 0:
			return ErrAbsent
		case strconv.Itoa(m.version) != version:
			return ErrConflict
		}
		return nil
	}, r)
}

// put is somebody else's write.
func (m *memory) put(r record.Record) {
	m.rec, m.broken = r, false
	m.version++
}

var (
	me    = grant.Incarnation{Member: "pvc-a", Pod: "pod-a", Boot: "boot-a"}
	other = grant.Incarnation{Member: "pvc-b", Pod: "pod-b", Boot: "boot-b"}
	usual = Timing{Duration: 8 * time.Second, FenceAfter: 5 * time.Second, Renew: time.Second}
)

func recordOf(holder grant.Incarnation, local uint64) record.Record {
	return record.Record{Format: record.Format, Holder: holder, Duration: record.Duration(8 * time.Second), FenceAfter: record.Duration(5 * time.Second),
		Beat: 5, Epoch: epoch.Epoch{Site: 1, Local: local}, Timeline: uint32(local), SystemID: "7"}
}

// rig is a loop that is turned by hand over a store in memory.
type rig struct {
	*Loop
	store *memory
	clock *clock
	t     *testing.T
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	c := &clock{t: 1000}
	m := &memory{clock: c}
	o.Store, o.Me, o.Now = m, me, c.now
	if o.Timing == (Timing{}) {
		o.Timing = usual
	}
	return &rig{Loop: New(o), store: m, clock: c, t: t}
}

// leading returns a rig that holds the record of epoch 1.3, renewed just now.
func leading(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, Options{})
	r.store.put(recordOf(me, 3))
	r.turn(t.Context())
	if !r.View().InForce(r.clock.t) {
		t.Fatalf("does not lead: %+v", r.View())
	}
	return r
}

func (r *rig) pass(d time.Duration) { r.clock.t = r.clock.t.Add(d) }

// left is how long the right to write still lasts.
func (r *rig) left() time.Duration {
	v := r.View()
	if !v.InForce(r.clock.t) {
		return 0
	}
	return v.Deadline.Sub(r.clock.t)
}

func (r *rig) want(left time.Duration, mine bool) {
	r.t.Helper()
	if got := r.left(); got != left || r.View().Mine != mine {
		r.t.Errorf("got %v left, mine %v; want %v, %v (problem %q)", got, r.View().Mine, left, mine, r.View().Problem)
	}
}
