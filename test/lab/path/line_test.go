package path

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/lab/fault"
)

func newLine(p fault.Path) *line {
	return &line{path: p, random: rand.New(rand.NewPCG(1, 2))}
}

func TestDelayStaysWithinItsVariation(t *testing.T) {
	l := newLine(fault.Path{Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond})
	now := time.Unix(0, 0)
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		// Far enough apart that no packet waits for the one before it.
		now = now.Add(10 * time.Millisecond)
		arrives, lost := l.judge(now)
		if lost {
			t.Fatal("a packet was lost on a path without loss")
		}
		least, most = min(least, arrives.Sub(now)), max(most, arrives.Sub(now))
	}
	if least < 18*time.Millisecond || most > 22*time.Millisecond {
		t.Errorf("got delays of %s to %s, want 18ms to 22ms", least, most)
	}
	if most-least < 3*time.Millisecond {
		t.Errorf("got delays of %s to %s, want them spread over nearly 4ms", least, most)
	}
}

func TestPacketsDoNotOvertake(t *testing.T) {
	l := newLine(fault.Path{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond})
	now := time.Unix(0, 0)
	var last time.Time
	for range 1000 {
		now = now.Add(10 * time.Microsecond)
		arrives, _ := l.judge(now)
		if arrives.Before(last) {
			t.Fatalf("a packet arrives at %s, before an earlier one at %s", arrives, last)
		}
		last = arrives
	}
}

func TestLossIsAsOrdered(t *testing.T) {
	for _, want := range []float64{0, 0.01, 0.5, 1} {
		l := newLine(fault.Path{Loss: want})
		const packets = 20_000
		lost := 0
		for range packets {
			if _, gone := l.judge(time.Unix(0, 0)); gone {
				lost++
			}
		}
		// Three standard deviations.
		slack := 3 * math.Sqrt(want*(1-want)/packets)
		if got := float64(lost) / packets; math.Abs(got-want) > slack {
			t.Errorf("got %.4f of packets lost, want %.4f", got, want)
		}
	}
}
