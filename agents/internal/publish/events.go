package publish

import (
	"context"
	"log/slog"
	"time"

	"github.com/pgspan/pgspan/agents/internal/kube"
)

// Events tells people what happened, by Kubernetes events on this pod. Telling never holds up what is told: what does not fit the
// queue is dropped, and the log has it.
type Events struct {
	pod, uid string
	queue    chan kube.Event
	log      *slog.Logger
}

// EventAPI creates events.
type EventAPI interface {
	CreateEvent(ctx context.Context, e kube.Event) error
}

// NewEvents makes a queue of events about a pod.
func NewEvents(pod, uid string, log *slog.Logger) *Events {
	return &Events{pod: pod, uid: uid, queue: make(chan kube.Event, 32), log: log}
}

// Tell queues an event.
func (e *Events) Tell(warning bool, reason, message string) {
	if len(message) > 1024 { // the API's limit
		message = message[:1021] + "..."
	}
	select {
	case e.queue <- kube.Event{Pod: e.pod, PodUID: e.uid, Warning: warning, Reason: reason, Message: message, At: time.Now()}:
	default:
		e.log.Warn("event dropped", "reason", reason)
	}
}

// Run sends until ctx ends.
func (e *Events) Run(ctx context.Context, api EventAPI) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-e.queue:
			if err := api.CreateEvent(ctx, event); err != nil {
				e.log.Debug("event not sent", "reason", event.Reason, "error", err)
			}
		}
	}
}
