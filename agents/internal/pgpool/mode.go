package pgpool

import (
	"fmt"
	"time"
)

// Sight is what was seen of the primary's Service.
type Sight struct {
	// Reached: a connection was accepted just now.
	Reached bool
	// For is how long Reached has been what it is.
	For time.Duration
}

// NextMode decides in which mode pgpool is to run. A restart of pgpool ends the sessions it has, so a short gap (a switchover) is
// waited out, and the way back waits until the primary has been there for a moment.
func NextMode(now Mode, c Config, s Sight, patience time.Duration) (Mode, string) {
	const settled = time.Second
	switch {
	case c.Replicas == nil:
		return Split, "there are no replicas to read from"
	case now == Split && s.Reached:
		return Split, "the primary answers"
	case now == Split && s.For < patience:
		return Split, fmt.Sprintf("the primary has not answered for less than %s", patience)
	case now == Split:
		return ReadOnly, fmt.Sprintf("the primary has not answered for %s or more: reads go on from the replicas", patience)
	case !s.Reached:
		return ReadOnly, "there is no primary: reads go on from the replicas"
	case s.For < settled:
		return ReadOnly, "a primary has just appeared"
	default:
		return Split, "there is a primary again"
	}
}
