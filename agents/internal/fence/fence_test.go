package fence

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
)

// recorder notes signals instead of sending them: the tests of package guarding send them for real.
type recorder struct {
	quit  []int
	kills int
}

func (r *recorder) Quit(pid int) { r.quit = append(r.quit, pid) }
func (r *recorder) KillAll()     { r.kills++ }

func at(ms int) boottime.Instant {
	return boottime.Instant(1e12).Add(time.Duration(ms) * time.Millisecond)
}

// stepping is a fence whose clock stands wherever the test puts it.
func stepping() (*Fence, *recorder, *boottime.Instant) {
	r := &recorder{}
	f := New(r)
	now := at(0)
	f.now = func() boottime.Instant { return now }
	return f, r, &now
}

func TestFenceFires(t *testing.T) {
	for _, tt := range []struct {
		name      string
		prepare   func(f *Fence)
		steps     []int // milliseconds
		wantQuit  []int
		wantKills int
		wantFired bool
	}{
		{"standby_is_never_fenced", func(f *Fence) { f.Target(7) }, []int{0, 50, 5000, 500000}, nil, 0, false},
		{"granted_primary_is_left_alone", func(f *Fence) { f.Arm(at(3000)); f.Target(7) }, []int{0, 50, 2999}, nil, 0, false},
		{"quit_comes_first_and_kill_only_after_patience", func(f *Fence) { f.Arm(at(100)); f.Target(7) }, []int{0, 100, 150, 599}, []int{7}, 0, true},
		{"kill_is_repeated_until_disarmed", func(f *Fence) { f.Arm(at(100)); f.Target(7) }, []int{100, 600, 650, 700}, []int{7}, 3, true},
		{"server_whose_pid_is_not_known_yet_is_killed", func(f *Fence) { f.Arm(at(100)) }, []int{100, 600}, nil, 1, true},
		{"server_forked_after_it_fired_is_killed_at_once", func(f *Fence) { f.Arm(at(100)); f.step(at(100)); f.Target(7) }, []int{101}, nil, 1, true},
		{"server_not_forked_yet_has_no_more_patience", func(f *Fence) { f.Arm(at(100)) }, []int{100, 101, 599}, nil, 0, true},
		{"deadline_of_zero_means_at_once_not_never", func(f *Fence) { f.Arm(0); f.Target(7) }, []int{0}, []int{7}, 0, true},
		{"fire_needs_no_deadline", func(f *Fence) { f.Target(7); f.Fire() }, []int{0, 500}, []int{7}, 1, true},
		{"fire_beats_a_later_grant", func(f *Fence) { f.Arm(at(100)); f.Target(7); f.Fire(); f.Extend(at(9000)) }, []int{0, 500}, []int{7}, 1, true},
		{"kill_waits_for_nobody", func(f *Fence) { f.Kill() }, []int{0}, nil, 1, true},
		{"renewal_in_time_prolongs", func(f *Fence) { f.Arm(at(100)); f.Target(7); f.Extend(at(5000)) }, []int{100, 4999}, nil, 0, false},
		{"newest_word_shortens_too", func(f *Fence) { f.Arm(at(5000)); f.Target(7); f.Extend(at(100)) }, []int{100}, []int{7}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, r, now := stepping()
			tt.prepare(f)
			for _, ms := range tt.steps {
				*now = at(ms)
				f.step(*now)
			}
			if !slices.Equal(r.quit, tt.wantQuit) {
				t.Errorf("SIGQUIT went to %v, want %v", r.quit, tt.wantQuit)
			}
			if r.kills != tt.wantKills {
				t.Errorf("everything was killed %d times, want %d", r.kills, tt.wantKills)
			}
			if got := f.Fired(); got != tt.wantFired {
				t.Errorf("fired is %v, want %v", got, tt.wantFired)
			}
			if got, want := f.KilledAll(), tt.wantKills > 0; got != want {
				t.Errorf("killed all is %v, want %v", got, want)
			}
		})
	}
}

func TestRenewalThatComesTooLateIsRefused(t *testing.T) {
	f, r, now := stepping()
	f.Arm(at(100))
	f.Target(7)
	*now = at(100) // run out, though no tick has seen it yet
	if f.Extend(at(9000)) {
		t.Error("a grant that had run out was prolonged")
	}
	f.step(*now)
	if f.Extend(at(9000)) {
		t.Error("a fence that had fired was called back")
	}
	*now = at(700)
	f.step(*now)
	if r.kills != 1 {
		t.Errorf("everything was killed %d times after a late renewal, want 1", r.kills)
	}
}

func TestUnarmedFenceIsNotArmedByARenewal(t *testing.T) {
	f, r, now := stepping()
	if f.Extend(at(100)) {
		t.Error("a renewal armed the fence of a standby")
	}
	*now = at(200)
	f.step(*now)
	if len(r.quit) != 0 || f.Fired() {
		t.Error("a standby was fenced")
	}
}

func TestDisarmedFenceSendsNothingMore(t *testing.T) {
	f, r, now := stepping()
	f.Arm(at(100))
	f.Target(7)
	*now = at(100)
	f.step(*now)
	*now = at(750)
	f.step(*now)
	done := make(chan time.Duration)
	go func() {
		since, err := f.Disarm(t.Context())
		if err != nil {
			t.Errorf("disarm: %v", err)
		}
		done <- since
	}()
	for !f.disarm.Load() {
		time.Sleep(time.Millisecond)
	}
	f.step(*now)
	if got, want := <-done, 650*time.Millisecond; got != want {
		t.Errorf("time since the fence fired is %v, want %v", got, want)
	}
	kills := r.kills
	*now = at(60000)
	f.step(*now)
	if r.kills != kills || f.Fired() || f.KilledAll() || f.Deadline() != 0 {
		t.Errorf("after Disarm: killed %d times more, fired %v, killed all %v, deadline %d", r.kills-kills, f.Fired(), f.KilledAll(), f.Deadline())
	}
	select {
	case <-f.Alarm():
		t.Error("the alarm of a fence that is over was left for the next one")
	default:
	}
}

func TestDisarmEndsWithItsContext(t *testing.T) {
	f, _, _ := stepping() // nobody watches
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Disarm(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestFencePathAllocatesNothing(t *testing.T) {
	r := &recorder{quit: make([]int, 0, 100000)}
	f := New(r)
	f.Target(7)
	ms := 0
	got := testing.AllocsPerRun(1000, func() {
		ms += 1000
		f.fired.Store(0)
		f.Arm(at(ms))
		f.sleep(0, f.step(at(ms-1))) // not yet; the sleep, from the start of the clock on, ends at once
		f.step(at(ms))               // fires
		f.step(at(ms + 600))
		select {
		case <-f.Alarm():
		default:
		}
	})
	if got != 0 {
		t.Errorf("the fence path allocates %v times per run, want 0", got)
	}
	if r.kills < 1000 || len(r.quit) < 1000 {
		t.Fatalf("the measured path did not fence: %d kills, %d quits", r.kills, len(r.quit))
	}
}

func TestWatchFiresOnTheBootClockWithinTwoTicks(t *testing.T) {
	f := New(&recorder{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { f.Watch(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()

	deadline := boottime.Now().Add(200 * time.Millisecond)
	f.Arm(deadline)
	select {
	case <-f.Alarm():
	case <-time.After(5 * time.Second):
		t.Fatal("the fence did not fire")
	}
	if late := boottime.Now().Sub(deadline); late < 0 || late > 2*Tick {
		t.Errorf("the fence fired %v after the deadline, want 0 to %v", late, 2*Tick)
	}
	if age := f.Age(); age > time.Second {
		t.Errorf("last look at the clock is %v old", age)
	}
}

func TestContainerIsRefusedToAnyButTheFirstProcess(t *testing.T) {
	if _, err := InContainer(); !errors.Is(err, ErrNotFirst) {
		t.Errorf("got %v, want %v", err, ErrNotFirst)
	}
}
