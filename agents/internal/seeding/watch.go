package seeding

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

// poll finds a grant whose notification was lost: a watch is a hint.
const poll = 100 * time.Millisecond

// watchGrant returns a channel that has a value when the grant has been replaced since it was last received from.
func watchGrant(ctx context.Context, control string, log *slog.Logger) <-chan struct{} {
	wake := make(chan struct{}, 1)
	go func() {
		var events chan fsnotify.Event
		if w, err := fsnotify.NewWatcher(); err == nil {
			defer w.Close()
			// The directory, because a rename replaces the file that would be watched.
			if err := w.Add(control); err == nil {
				events = w.Events
			} else {
				log.Debug("grant is polled", "error", err.Error())
			}
		}
		var last os.FileInfo
		tick := time.NewTicker(poll)
		defer tick.Stop()
		for {
			now, err := os.Stat(filepath.Join(control, grant.File))
			if err == nil && (last == nil || !os.SameFile(now, last) || !now.ModTime().Equal(last.ModTime())) {
				last = now
				select {
				case wake <- struct{}{}:
				default:
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-events:
			}
		}
	}()
	return wake
}
