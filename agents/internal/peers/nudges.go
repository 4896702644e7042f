package peers

import (
	"context"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

// nudgeEvery is the least time between the beginnings of two calls of Nudge: each may cost a request to the Kubernetes API.
const nudgeEvery = 100 * time.Millisecond

// nudges turns any number of requests to look into few calls. The first is passed on at once.
type nudges struct {
	call func(grant.Incarnation, epoch.Version)
	wake chan struct{}
	mu   sync.Mutex
	next *look
}

func newNudges(call func(grant.Incarnation, epoch.Version)) *nudges {
	return &nudges{call: call, wake: make(chan struct{}, 1)}
}

// add keeps the newest version of those not passed on yet.
func (n *nudges) add(l look) {
	n.mu.Lock()
	if n.next == nil || l.Version.Newer(n.next.Version) {
		n.next = &l
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *nudges) take() *look {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.next
	n.next = nil
	return l
}

func (n *nudges) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		pause := time.After(nudgeEvery)
		if l := n.take(); l != nil {
			n.call(l.From, l.Version)
		}
		select {
		case <-ctx.Done():
			return
		case <-pause:
		}
	}
}
