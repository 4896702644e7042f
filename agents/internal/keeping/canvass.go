package keeping

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// canvass asks the members how they stand in one election. Each is asked by itself: the leader that is gone is listed as well, and an election
// must not take as long as its silence.
type canvass struct {
	version string // of the record that is voted on
	ask     func(context.Context, record.Member) (judge.Standing, error)
	// tell is called with all that is known by now, after each answer and after each that did not come; never twice at once, and not after end.
	tell func([]judge.Standing)

	mu    sync.Mutex
	asked map[string]bool // whose answer is awaited
	heard map[string]judge.Standing
	ended bool
}

func newCanvass(version string, ask func(context.Context, record.Member) (judge.Standing, error), tell func([]judge.Standing)) *canvass {
	return &canvass{version: version, ask: ask, tell: tell, asked: map[string]bool{}, heard: map[string]judge.Standing{}}
}

// round asks all members but one whose last answer is not awaited any more, and waits for nobody.
func (c *canvass) round(ctx context.Context, members []record.Member, except string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range members {
		if m.ID == except || c.asked[m.ID] {
			continue
		}
		c.asked[m.ID] = true
		go func() {
			ctx, cancel := context.WithTimeout(ctx, askLimit)
			defer cancel()
			s, err := c.ask(ctx, m)
			c.take(m.ID, s, err)
		}()
	}
}

func (c *canvass) take(member string, s judge.Standing, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[member] = false
	if c.ended {
		return
	}
	if err != nil {
		delete(c.heard, member) // what it said before may have changed
	} else {
		c.heard[member] = s
	}
	c.tell(slices.Collect(maps.Values(c.heard)))
}

// end makes the canvass tell nothing more.
func (c *canvass) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
}
