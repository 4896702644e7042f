package guarding

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/keys"
)

// slowPoll finds a change of keys or settings that no notification told of.
const slowPoll = 30 * time.Second

// sources tells when keys or settings may have changed. What has changed is found out by deriving everything again.
type sources struct {
	dirs    []string
	log     *slog.Logger
	changed chan struct{}
	due     bool // belongs to the main loop: something is to be derived
}

func newSources(log *slog.Logger, dirs ...string) *sources {
	return &sources{dirs: dirs, log: log, changed: make(chan struct{}, 1)}
}

// poke says that something may have changed.
func (s *sources) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *sources) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, dir := range s.dirs {
		all.Go(func() { keys.Watch(ctx, dir, slowPoll, s.log, s.poke) })
	}
	all.Wait()
}
