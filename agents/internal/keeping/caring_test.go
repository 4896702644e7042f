package keeping

import (
	"errors"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestMeterCountsOnlyWhatWasSeen(t *testing.T) {
	var m meter
	now := boottime.Instant(1e12)
	look := func(after time.Duration, so bool) time.Duration {
		now = now.Add(after)
		return m.add(now, so)
	}
	if got := look(0, true); got != 0 {
		t.Errorf("first look: got %v", got)
	}
	for range 5 {
		look(time.Second, true)
	}
	if got := m.total; got != 5*time.Second {
		t.Errorf("got %v, want 5s", got)
	}
	if got := look(time.Hour, true); got != 7*time.Second {
		t.Errorf("a keeper frozen for an hour has seen nothing meanwhile: got %v, want 7s", got)
	}
	if got := look(time.Second, false); got != 0 {
		t.Errorf("it is over: got %v", got)
	}
	if got := look(time.Hour, true); got != 0 {
		t.Errorf("it begins anew: got %v", got)
	}
}

// sick is a keeper's knowledge of a leader's server, seen every second.
type sick struct {
	k   *Keeper
	p   patient
	n   known
	v   lease.View
	now boottime.Instant
}

func newSick() *sick {
	s := &sick{k: &Keeper{}, now: boottime.Now()}
	s.v.Record = record.Record{Epoch: at(3), Reign: "r"}
	s.n.pulseAt = s.now
	s.n.state = &grant.State{Server: grant.Writable, Phase: grant.Running, Disk: &grant.Disk{}}
	return s
}

func (s *sick) seconds(n int, each func()) judge.Condition {
	var c judge.Condition
	for range n {
		s.now = s.now.Add(time.Second)
		s.n.state.Beat = boottime.Now() // guard lives
		if each != nil {
			each()
		}
		c = s.k.condition(&s.p, s.n, s.v, s.now)
	}
	return c
}

func TestWhatCountsAsSilence(t *testing.T) {
	for name, tt := range map[string]struct {
		each        func(*sick)
		mute, stuck bool
	}{
		"nothing_at_all":                       {func(*sick) {}, true, false},
		"never_answered_this_process":          {func(s *sick) { s.n.pulseAt = 0 }, false, false},
		"answers_now_and_then":                 {func(s *sick) { s.n.pulseAt = s.now }, false, false},
		"answers_nobody_and_writes":            {func(s *sick) { s.n.filesAt = s.now }, false, false},
		"one_write_of_guards_does_not_end":     {func(s *sick) { s.n.pulseAt, s.n.state.Disk.Since = s.now, 7 }, false, true},
		"each_write_of_guards_is_slow":         {func(s *sick) { s.n.pulseAt, s.n.state.Disk.Since = s.now, s.now }, false, false},
		"a_write_does_not_end_and_WAL_goes_on": {func(s *sick) { s.n.pulseAt, s.n.state.Disk.Since, s.n.flushedAt = s.now, 7, s.now }, false, false},
		"guard_is_not_heard":                   {func(s *sick) { s.n.pulseAt, s.n.state.Disk.Since, s.n.state.Beat = s.now, 7, 1 }, false, false},
		"it_is_starting":                       {func(s *sick) { s.n.state.Phase = grant.Starting }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSick()
			c := s.seconds(40, func() { tt.each(s) })
			if mute, stuck := c.Mute > 30*time.Second, c.Stuck > 30*time.Second; mute != tt.mute || stuck != tt.stuck {
				t.Errorf("got mute %v, stuck %v; want %v, %v", c.Mute, c.Stuck, tt.mute, tt.stuck)
			}
		})
	}
}

func TestTimeWithoutAServerThatWrites(t *testing.T) {
	s := newSick()
	s.n.state.Server, s.n.state.Phase = grant.Standby, grant.Running
	if c := s.seconds(20, nil); c.Wrote || c.Unwritable < 18*time.Second {
		t.Errorf("never promoted: got %+v", c)
	}
	s.n.state.Volume = &grant.Volume{WasPrimary: at(2), PrimaryReign: "q"}
	if c := s.seconds(1, nil); c.Wrote {
		t.Error("an earlier reign's writes count")
	}
	s.n.state.Server = grant.Writable
	if c := s.seconds(1, nil); !c.Writes || c.Unwritable != 0 {
		t.Errorf("writes: got %+v", c)
	}
	s.n.state.Server, s.n.state.Phase = grant.Down, grant.Stopped
	if c := s.seconds(5, nil); !c.Wrote || c.Writes || c.Unwritable < 3*time.Second || c.Unwritable > 5*time.Second {
		t.Errorf("crashed: got %+v", c)
	}
	fresh := newSick() // another process of this keeper: the volume tells
	fresh.n.state.Server, fresh.n.state.Volume = grant.Down, &grant.Volume{WasPrimary: at(3), PrimaryReign: "r"}
	if c := fresh.seconds(1, nil); !c.Wrote {
		t.Error("what an earlier process saw is forgotten")
	}
}

func TestRateOfARecoveryIsMeasured(t *testing.T) {
	const much = 2 * measuredRedo
	for name, tt := range map[string]struct {
		redo int64
		took time.Duration
		want float64
	}{
		"long_enough": {much, 4 * time.Second, much / 4},
		"too_little":  {measuredRedo - 1, time.Second, 0},
		"in_no_time":  {much, 0, much / 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			p := patient{redo: &tt.redo}
			now := boottime.Now()
			p.recovered(false, now)
			p.recovered(false, now.Add(tt.took/2))
			got, ok := p.recovered(true, now.Add(tt.took))
			if ok != (tt.want != 0) || got != tt.want || p.redo != nil {
				t.Errorf("got %v %v, want %v", got, ok, tt.want)
			}
		})
	}
}

func TestWhoCouldTakeOver(t *testing.T) {
	r := record.Record{Members: []record.Member{{ID: "a", Pod: "a"}, {ID: "b", Pod: "b"}}}
	good := peers.Standing{MayWin: true, Reached: 9, DiskWell: true}
	for name, tt := range map[string]struct {
		change  func(*peers.Answer, *record.Record)
		problem bool
		heard   bool
	}{
		"fit":                           {func(*peers.Answer, *record.Record) {}, false, true},
		"not_heard":                     {func(a *peers.Answer, _ *record.Record) { a.Err = errors.New("timeout") }, true, false},
		"must_not_win":                  {func(a *peers.Answer, _ *record.Record) { a.Standing.MayWin = false }, true, true},
		"fenced_by_hand":                {func(_ *peers.Answer, r *record.Record) { r.Fence(record.Fenced{Member: "b"}) }, true, true},
		"its_server_never_answered":     {func(a *peers.Answer, _ *record.Record) { a.Standing.Reached = 0 }, true, true},
		"its_volume_is_slow_or_unknown": {func(a *peers.Answer, _ *record.Record) { a.Standing.DiskWell = false }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			a, r := peers.Answer{Standing: good}, r.Clone()
			tt.change(&a, &r)
			got := reliefs(r, "a", map[string]peers.Answer{"b": a})
			if len(got) != 1 || got[0].Member != "b" || (got[0].Problem != "") != tt.problem || got[0].Heard != tt.heard {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestWellVolume(t *testing.T) {
	now := boottime.Now()
	for name, tt := range map[string]struct {
		disk *grant.Disk
		want bool
	}{
		"quick_a_moment_ago": {&grant.Disk{At: now.Add(-time.Second), Seconds: 0.01}, true},
		"never_tried":        {nil, false},
		"slow":               {&grant.Disk{At: now, Seconds: 1.1}, false},
		"long_ago":           {&grant.Disk{At: now.Add(-time.Minute), Seconds: 0.01}, false},
		"one_waits":          {&grant.Disk{At: now.Add(-3 * time.Second), Since: now.Add(-2 * time.Second)}, false},
		"read_only":          {&grant.Disk{At: now, Problem: "read-only file system"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := diskWell(known{state: &grant.State{Beat: now, Disk: tt.disk}}, now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
