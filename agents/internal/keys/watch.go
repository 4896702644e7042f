package keys

import (
	"context"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long after the first sign of a change to look: a rotation makes several.
const settle = 200 * time.Millisecond

// Watch calls look at the start, soon after something changes in dir, and at every poll, until ctx ends. It calls from one
// goroutine, never twice at once.
//
// The watch is only a hint: inotify may be exhausted on the node, and events can be lost. The poll is what is relied on, so
// look must be cheap and idempotent, as [Place] is.
func Watch(ctx context.Context, dir string, poll time.Duration, log *slog.Logger, look func()) {
	var events <-chan fsnotify.Event
	var problems <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watcher.Add(dir)
		events, problems = watcher.Events, watcher.Errors
	}
	if err != nil {
		log.Warn("cannot watch keys, polling only", "dir", dir, "poll", poll, "reason", err)
	}
	look() // after the watch began: a change since the caller last looked is not missed
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-events:
			if !open {
				events = nil
			} else if due == nil {
				due = time.After(settle)
			}
		case err, open := <-problems:
			if !open {
				problems = nil
				continue
			}
			log.Debug("watch of keys reported a problem", "dir", dir, "reason", err)
			if due == nil {
				due = time.After(settle) // events may have been lost
			}
		case <-due:
			due = nil
			look()
		case <-ticker.C:
			look()
		}
	}
}
