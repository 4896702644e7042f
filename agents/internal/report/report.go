// Package report keeps the state file of seed and guard fresh: it is rewritten at every change, and with a new beat even when nothing
// changes, so that keeper can tell a server that has nothing to say from an agent that is gone.
package report

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

// Interval is how often the file is rewritten when nothing changes. Each time wakes keeper.
const Interval = time.Second

// Reporter owns the state file. Its methods may be called from any goroutine.
type Reporter struct {
	dir string
	log *slog.Logger

	mu     sync.Mutex
	state  grant.State
	broken bool // the last write did not work; logged once per spell
}

// New returns a Reporter that starts from first. Nothing is written before Update, Flush or Run.
func New(controlDir string, first grant.State, log *slog.Logger) *Reporter {
	return &Reporter{dir: controlDir, state: first, log: log}
}

// Current returns what was reported last.
func (r *Reporter) Current() grant.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Update alters the state and writes it at once. A change of phase or reason is logged: it is what a person would want to know.
func (r *Reporter) Update(change func(*grant.State)) {
	r.mu.Lock()
	old := r.state
	change(&r.state)
	now := r.state
	r.mu.Unlock()
	if now.Phase != old.Phase || now.Reason != old.Reason {
		r.log.Log(context.Background(), level(now.Phase), "state", "phase", string(now.Phase), "server", string(now.Server), "reason", now.Reason)
	}
	r.write()
}

func level(p grant.Phase) slog.Level {
	if p == grant.Refused {
		return slog.LevelError // a person is needed
	}
	return slog.LevelInfo
}

// Run rewrites the file until ctx ends, and once more then.
func (r *Reporter) Run(ctx context.Context) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		r.write()
		select {
		case <-ctx.Done():
			r.write()
			return
		case <-tick.C:
		}
	}
}

// Flush writes the file now and says whether that worked.
func (r *Reporter) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.replace()
}

// write does not stop the caller when the control volume is full: a server without reports is better than no server.
func (r *Reporter) write() {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.replace()
	if err != nil && !r.broken {
		r.log.Warn("state cannot be reported", "error", err.Error())
	}
	if err == nil && r.broken {
		r.log.Info("state is reported again")
	}
	r.broken = err != nil
}

func (r *Reporter) replace() error {
	r.state.Beat = boottime.Now()
	if err := grant.WriteState(r.dir, r.state); err != nil {
		return fmt.Errorf("report state: %w", err)
	}
	return nil
}
