package guarding

import (
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

// Action is what guard is to do next.
type Action string

const (
	// Stay: nothing is to be done; the reason says what is awaited, if anything.
	Stay Action = "stay"
	// Start: prepare the volume by the plan and start the server on it.
	Start Action = "start"
	// Follow: render the configuration for another upstream and reload.
	Follow Action = "follow"
	// Promote: tell the standby to become primary.
	Promote Action = "promote"
	// Stop: fast shutdown, bounded.
	Stop Action = "stop"
	// Fence: kill at once.
	Fence Action = "fence"
	// Leave: guard's work is done.
	Leave Action = "leave"
)

// Following is what a standby's configuration was rendered for.
type Following struct {
	Upstream       grant.Upstream // zero: nobody
	Slot, SyncName string
	Waits          string // whom commits wait for
}

// unsaid is whom commits wait for when the grant does not say.
const unsaid = "as the settings say"

// FollowingOf is what a standby is to be configured for under g.
func FollowingOf(g grant.Grant) Following {
	f := Following{Slot: g.Slot, SyncName: g.SyncName, Waits: unsaid}
	if g.Sync != nil {
		f.Waits = g.Sync.Names()
	}
	if g.Upstream != nil {
		f.Upstream = *g.Upstream
	}
	return f
}

// Facts is all that the next action depends on.
type Facts struct {
	Now   boottime.Instant
	Grant *grant.Grant // the newest accepted one; nil: none has come

	Server    grant.Server
	Ready     bool // the postmaster accepts connections
	Reign     Reign
	Following Following
	// Signal says that standby.signal is there. A server removes it at the end of a promotion.
	Signal bool

	SystemID string // of the data directory; empty: not known
	// Vote is the version of the record that the volume has voted on.
	Vote epoch.Version

	Terminating bool             // guard was told to end
	HandBy      boottime.Instant // ... and a primary is left to keeper until then, which may hand over to another member
	Stopping    bool             // the server was told to shut down; PostgreSQL cannot take that back
	Overdue     bool             // ... and has had its time

	Retry boottime.Instant // no start before
	// Hold is why the last try to promote under the present grant was given up; empty: there was none. No other before HoldUntil.
	Hold       string
	HoldUntil  boottime.Instant
	FenceAfter time.Duration // the length of a fresh grant
}

// Next decides. It is pure: the same facts give the same answer.
func Next(f Facts) (Action, string) {
	switch {
	case f.Server == grant.Down:
		return nextDown(f)
	case f.Stopping && f.Overdue:
		return Fence, "the shutdown took longer than it may"
	case f.Stopping && f.calledOff():
		return Fence, "the shutdown was called off: the server starts anew as primary"
	case f.Stopping:
		return Stay, "the server is shutting down"
	case f.Terminating && (f.Server != grant.Writable || !f.Now.Before(f.HandBy)):
		return Stop, "the container is told to end"
	case f.Server == grant.Standby && !f.Signal:
		return Fence, "the server was promoted by somebody else: standby.signal is gone and no grant says primary"
	case f.Grant == nil:
		return Stay, "no grant has come since guard was started"
	case f.Server == grant.Standby:
		return nextStandby(f, *f.Grant)
	default:
		return nextPrimary(f, *f.Grant)
	}
}

// calledOff: keeper has told a primary to stop and now tells it to go on in the same reign. PostgreSQL's shutdown cannot be taken back, and it
// may wait for a walsender without end; but nobody is connected any more, and the reign can go on with a new server (SAFETY D33).
func (f Facts) calledOff() bool {
	return !f.Terminating && f.Server == grant.Writable && f.Grant != nil && f.Grant.Role == grant.Primary && ReignOf(*f.Grant) == f.Reign && f.Now.Before(f.Grant.Deadline)
}

func nextDown(f Facts) (Action, string) {
	switch {
	case f.Terminating:
		return Leave, "the container is told to end"
	case f.Grant == nil:
		return Stay, "waits for a first grant"
	case f.Grant.Role == grant.Wait:
		return Stay, "waits: " + f.Grant.Reason
	case f.Grant.Role == grant.Stop:
		return Stay, "stays down: " + f.Grant.Reason
	case f.Grant.Role == grant.Primary && !f.Now.Before(f.Grant.Deadline):
		return Stay, fmt.Sprintf("waits for a new grant: the last one to be primary (%s) has run out", ReignOf(*f.Grant))
	case f.Now.Before(f.Retry):
		return Stay, "waits before the next try to start the server"
	}
	return Start, f.Grant.Reason
}

// notPromoted begins the sentence about a promotion that was given up.
const notPromoted = "is not promoted: "

func nextStandby(f Facts, g grant.Grant) (Action, string) {
	switch g.Role {
	case grant.Wait:
		return Stay, "" // a standby that waits goes on as it is (SAFETY D43)
	case grant.Stop:
		return Stop, g.Reason
	case grant.Replica:
		switch bound := g.Bound(f.Vote); {
		case FollowingOf(bound) != f.Following:
			return Follow, g.Reason
		case bound.Upstream == nil && g.Upstream != nil:
			return Stay, fmt.Sprintf("has voted on version %s of the record and streams by the word of a newer one only", f.Vote)
		}
		return Stay, ""
	}
	left := g.Deadline.Sub(f.Now)
	switch {
	case g.Sync != nil && g.Sync.K > 0 && FollowingOf(g).Waits != f.Following.Waits:
		return Follow, g.Reason // it must not acknowledge a commit by a weaker list in its first moment (SAFETY rule 11)
	case left <= 0:
		return Stay, fmt.Sprintf("is not promoted: the grant to be primary (%s) has run out", ReignOf(g))
	case g.SystemID != "" && f.SystemID != "" && g.SystemID != f.SystemID:
		return Stay, fmt.Sprintf("is not promoted: the grant is for the database %s, this one is %s", g.SystemID, f.SystemID)
	case !f.Ready:
		return Stay, "is promoted as soon as it accepts connections"
	case f.Hold != "" && f.Now.Before(f.HoldUntil):
		return Stay, notPromoted + f.Hold
	case left < f.FenceAfter/2:
		// A promotion cannot be taken back (SAFETY D15): with little time left it would most likely end under SIGKILL.
		return Stay, fmt.Sprintf("is not promoted: the grant has less left than half of %v", f.FenceAfter)
	}
	return Promote, g.Reason
}

// nextPrimary is for a server that writes or was told to. That its grant has run out is not its business: the fence sees to that.
func nextPrimary(f Facts, g grant.Grant) (Action, string) {
	switch {
	case g.Role == grant.Primary && ReignOf(g) == f.Reign && f.Server == grant.Writable && g.Sync != nil && FollowingOf(g).Waits != f.Following.Waits:
		return Follow, g.Reason
	case g.Role == grant.Primary && ReignOf(g) == f.Reign:
		return Stay, ""
	case g.Role == grant.Primary && g.Epoch.Compare(f.Reign.Epoch) < 0:
		return Stay, fmt.Sprintf("the grant is for %s, older than %s: it counts as none", ReignOf(g), f.Reign)
	case g.Role == grant.Primary:
		// A new epoch is a new timeline, so it needs a promotion, and that needs a standby.
		return Stop, fmt.Sprintf("the grant is for %s, the server is primary in %s", ReignOf(g), f.Reign)
	}
	return Stop, fmt.Sprintf("the grant is to %s: %s", g.Role, g.Reason)
}
