package pgpool

import (
	"fmt"
	"time"
)

// Role is what a Service leads to, and the name of one of pgpool's backends.
type Role string

// The roles.
const (
	Primary  Role = "primary"
	Replicas Role = "replicas"
)

// Sight is what was seen of a Service.
type Sight struct {
	// Reached: a connection was accepted just now.
	Reached bool
	// For is how long Reached has been what it is.
	For time.Duration
}

// Route says where one of pgpool's backends leads.
type Route struct {
	// Open: pgpool can connect to the backend. To a closed one that is not the primary it opens sessions without it.
	Open bool
	// To is the Service that new connections are taken to.
	To Role
}

const (
	// settled is how long the primary must have answered before sessions are taken from the replicas back to it.
	settled = time.Second
	// missed is how long the replicas must not have answered before sessions are opened without them: of several replicas behind one
	// Service a single look may hit the only one that is gone.
	missed = 2 * time.Second
)

// routePrimary decides where pgpool's backend for the primary leads. pgpool connects every session to it, also those that only read, so
// while there is no primary it leads to the replicas: reads go on, and a write gets PostgreSQL's own "cannot execute … in a read-only
// transaction". Each change ends sessions, so a short gap (a switchover) is waited out, and the way back waits until the primary has
// been there for a moment.
func routePrimary(now Route, primary Sight, replicas *Sight, patience time.Duration) (Route, string) {
	toPrimary, toReplicas := Route{Open: true, To: Primary}, Route{Open: true, To: Replicas}
	switch {
	case replicas == nil:
		return toPrimary, "there are no replicas to read from"
	case now.To == Primary && primary.Reached:
		return toPrimary, "the primary answers"
	case now.To == Primary && primary.For < patience:
		return toPrimary, fmt.Sprintf("the primary has not answered for less than %s", patience)
	case now.To == Primary && !replicas.Reached:
		return toPrimary, "neither the primary nor a replica answers"
	case now.To == Primary:
		return toReplicas, fmt.Sprintf("the primary has not answered for %s or more: reads go on from the replicas", patience)
	case !primary.Reached:
		return toReplicas, "there is no primary: reads go on from the replicas"
	case primary.For < settled:
		return toReplicas, "a primary has just appeared"
	default:
		return toPrimary, "there is a primary again"
	}
}

// routeReplicas decides whether pgpool's backend for the replicas is there. Sessions that begin without it read from the primary.
func routeReplicas(now Route, replicas Sight) (Route, string) {
	switch {
	case replicas.Reached:
		return Route{Open: true, To: Replicas}, "the replicas answer"
	case replicas.For < missed:
		return Route{Open: now.Open, To: Replicas}, fmt.Sprintf("the replicas have not answered for less than %s", missed)
	default:
		return Route{Open: false, To: Replicas}, "no replica answers: sessions read from the primary"
	}
}

// destination says where the attempt of a connection to reach its server goes, counted from 0. A session that has already found pgpool's
// backend for the replicas cannot go on without it, so after two of them in vain it gets the primary in their place.
func destination(of Role, to Role, attempt int) Role {
	if of == Replicas && attempt >= 2 {
		return Primary
	}
	return to
}
