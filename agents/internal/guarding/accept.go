package guarding

import (
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

// Accept judges whether a grant that was read is the word to obey. seen is the highest sequence number seen so far. A grant that is not
// accepted changes nothing: what was granted before goes on until its own deadline.
func Accept(g grant.Grant, me grant.Incarnation, seen uint64) (bool, string) {
	switch {
	case g.Holder.Pod != me.Pod:
		return false, fmt.Sprintf("grant %d is for pod %s, this is pod %s", g.Seq, g.Holder.Pod, me.Pod)
	case g.Holder.Boot != me.Boot:
		return false, fmt.Sprintf("grant %d is of another boot of this node: its deadline means nothing", g.Seq)
	case g.Seq < seen:
		return false, fmt.Sprintf("grant %d is older than %d, which was obeyed already", g.Seq, seen)
	}
	return true, ""
}

// Reign is the epoch and timeline that a server is, or was told to become, primary in. The zero Reign is a standby's.
type Reign struct {
	Epoch    epoch.Epoch
	Name     string
	Timeline uint32
}

// IsZero reports whether there is no reign.
func (r Reign) IsZero() bool { return r == Reign{} }

// String gives epoch and timeline for sentences.
func (r Reign) String() string { return fmt.Sprintf("epoch %s on timeline %d", r.Epoch, r.Timeline) }

// ReignOf is the reign that a grant to be primary is for.
func ReignOf(g grant.Grant) Reign { return Reign{g.Epoch, g.Reign, g.Timeline} }

// Renewal returns the deadline that g gives a server that reigns in r. A grant for another epoch renews nothing, and neither does one of
// another role, but for a Stop that says until when the shutdown may take.
func Renewal(g grant.Grant, r Reign) (boottime.Instant, bool) {
	switch {
	case r.IsZero():
		return 0, false
	case g.Role == grant.Primary && ReignOf(g) == r:
		return g.Deadline, true
	case g.Role == grant.Stop && g.Deadline != 0 && g.Epoch == r.Epoch:
		return g.Deadline, true
	}
	return 0, false
}
