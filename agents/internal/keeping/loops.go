package keeping

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/observed"
)

// wake asks a loop for its next turn at once. Many calls are one.
type wake chan struct{}

func newWake() wake { return make(wake, 1) }

func (w wake) up() {
	select {
	case w <- struct{}{}:
	default:
	}
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// tick is what the loops' longer pauses end together on. Each time that a process is woken from rest costs more than most turns do; at rest the
// loops wake it twice a second instead of some twenty times.
const tick = 500 * time.Millisecond

// loops runs loops and remembers how they do.
type loops struct {
	log   *slog.Logger
	began boottime.Instant // ticks are counted from here: the keepers of one machine need not wake at once
	mu    sync.Mutex
	done  map[string]observed.Loop
	last  map[string]boottime.Instant
	said  map[string]string
}

func newLoops(log *slog.Logger) *loops {
	return &loops{log: log, began: boottime.Now(), done: map[string]observed.Loop{}, last: map[string]boottime.Instant{}, said: map[string]string{}}
}

// run takes turns until ctx ends. A panic ends the turn and is logged with its stack; what a collector stumbles over must not cost the
// database its keeper (SAFETY D39).
func (l *loops) run(ctx context.Context, name string, every func() time.Duration, w wake, turn func(context.Context) error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w:
		case <-timer.C:
		}
		start := boottime.Now()
		panicked, err := protected(ctx, turn)
		if ctx.Err() != nil {
			return
		}
		l.note(name, boottime.Now().Sub(start), panicked, err)
		timer.Reset(l.pause(every()))
	}
}

// pause is d, ended by the last tick in it. One that is shorter than a tick stays as it is: somebody waits for it.
func (l *loops) pause(d time.Duration) time.Duration {
	if d < tick {
		return d
	}
	now := boottime.Now().Sub(l.began)
	return (now + d).Truncate(tick) - now
}

func protected(ctx context.Context, turn func(context.Context) error) (panicked bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked, err = true, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return false, turn(ctx)
}

func (l *loops) note(name string, took time.Duration, panicked bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.done[name]
	d.Seconds = took.Seconds()
	if panicked {
		d.Panics++
	} else {
		l.last[name] = boottime.Now()
	}
	text := ""
	if err != nil {
		d.Failures++
		text = err.Error()
	}
	l.done[name] = d
	if text == l.said[name] { // one line per change
		return
	}
	l.said[name] = text
	switch {
	case panicked:
		l.log.Error("loop panicked", "loop", name, "error", text)
	case err != nil:
		l.log.Warn("loop turn failed", "loop", name, "error", text)
	default:
		l.log.Info("loop works again", "loop", name)
	}
}

// all returns how each loop does.
func (l *loops) all() map[string]observed.Loop {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.done)
}

// age is how long ago a loop finished a turn; 0 before the first.
func (l *loops) age(name string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.last[name]
	if !ok {
		return 0
	}
	return boottime.Now().Sub(last)
}
