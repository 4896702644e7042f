package fence

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgspan/pgspan/agents/internal/boottime"
)

// watched is a fence that is watched until the test ends.
func watched(t *testing.T, change func(f *Fence)) *Fence {
	f := New(&recorder{})
	change(f)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { f.Watch(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	for f.beat.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	return f
}

// TestWhatBringsTheEndNearerIsNotSleptThrough asks, many times at any moment of the watch's sleep, how long it takes until the fence has
// fired, and until it is disarmed. A ring that was lost would take the rest of a quarter of a second.
func TestWhatBringsTheEndNearerIsNotSleptThrough(t *testing.T) {
	for _, tt := range []struct {
		name string
		fire func(f *Fence)
	}{
		{"fire", func(f *Fence) { f.Fire() }},
		{"kill", func(f *Fence) { f.Kill() }},
		{"grant_that_has_run_out", func(f *Fence) { f.Arm(0) }},
		{"grant_that_is_shortened", func(f *Fence) {
			f.Arm(boottime.Now().Add(time.Minute))
			f.Extend(boottime.Now())
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := watched(t, func(*Fence) {})
			slow := 0
			const rounds = 50
			for i := range rounds {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				began := time.Now()
				tt.fire(f)
				<-f.Alarm()
				if _, err := f.Disarm(t.Context()); err != nil {
					t.Fatal(err)
				}
				if time.Since(began) > Look/5 {
					slow++
				}
			}
			// A busy machine may be late now and then; without the bell, nearly every round is.
			if slow > rounds/5 {
				t.Errorf("%d of %d rounds took longer than %v", slow, rounds, Look/5)
			}
		})
	}
}

func TestTimerGoesOnWhileTheMachineSleeps(t *testing.T) {
	s, err := newSleeper()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", s.timer.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("clockid: %d\n", unix.CLOCK_BOOTTIME); !strings.Contains(string(info), want) {
		t.Errorf("the timer is not on the boot clock (%q):\n%s", want, info)
	}
}

func TestSleepEndsWhenTheTimerDoesNot(t *testing.T) {
	s, err := newSleeper()
	if err != nil {
		t.Fatal(err)
	}
	began := boottime.Now()
	s.until(began.Add(time.Hour))
	if took := boottime.Now().Sub(began); took < 2*Look || took > 20*Look {
		t.Errorf("slept for %v, want %v", took, 2*Look)
	}
	s.until(began.Add(-time.Hour)) // over already: a hang here ends the test
}

func TestFenceWithoutATimerFiresAllTheSame(t *testing.T) {
	f := watched(t, func(f *Fence) { f.sleeper = nil })
	deadline := boottime.Now().Add(120 * time.Millisecond)
	f.Arm(deadline)
	<-f.Alarm()
	if late := boottime.Now().Sub(deadline); late < 0 || late > 4*Tick {
		t.Errorf("the fence fired %v after the deadline, want 0 to %v", late, 4*Tick)
	}
}
