package keeping

import (
	"log/slog"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
)

func TestLongPausesEndTogether(t *testing.T) {
	for name, d := range map[string]time.Duration{"a tick": tick, "a second": time.Second, "no multiple": 1700 * time.Millisecond, "minutes": 3 * time.Minute} {
		l := newLoops(slog.New(slog.DiscardHandler))
		for _, ago := range []time.Duration{0, time.Millisecond, 499 * time.Millisecond, 501 * time.Millisecond, time.Hour} {
			l.began = boottime.Now().Add(-ago)
			before := boottime.Now().Sub(l.began)
			got := l.pause(d)
			after := boottime.Now().Sub(l.began)
			if got <= d-tick-(after-before) || got > d {
				t.Errorf("%s, %v after the start: pause of %v for %v", name, ago, got, d)
			}
			// The end lies on a tick, as far as can be told with the time that passed meanwhile.
			if end := (after + got) % tick; end > after-before {
				t.Errorf("%s, %v after the start: the pause ends %v after a tick", name, ago, end)
			}
		}
	}
}

// Somebody waits for what a loop does when its pause is short: a promotion, an election, the end of a lease.
func TestShortPausesStay(t *testing.T) {
	l := newLoops(slog.New(slog.DiscardHandler))
	for _, d := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, tick - 1} {
		if got := l.pause(d); got != d {
			t.Errorf("pause(%v) = %v", d, got)
		}
	}
}
