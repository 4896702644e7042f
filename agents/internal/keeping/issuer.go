package keeping

import (
	"log/slog"
	"reflect"
	"sync"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
)

// issuer is the only writer of the grant file. The judge says what the member is to be; the lease loop says until when. Both come here,
// and under one lock, so that a deadline never meets a grant of another epoch.
type issuer struct {
	mu   sync.Mutex
	dir  string
	log  *slog.Logger
	now  func() boottime.Instant
	last grant.Grant // as written; Seq 0: nothing was
}

// newIssuer adopts what an earlier process of this incarnation has written (SAFETY D39). floor is a sequence number that guard has seen.
func newIssuer(dir string, me grant.Incarnation, floor uint64, log *slog.Logger) *issuer {
	i := &issuer{dir: dir, log: log, now: boottime.Now}
	g, err := grant.Read(dir)
	if err == nil && g.Holder.Pod == me.Pod && g.Holder.Boot == me.Boot {
		i.last = g
	}
	i.last.Seq = max(i.last.Seq, floor)
	return i
}

// previous returns the last grant written for this incarnation; nil if there is none.
func (i *issuer) previous() *grant.Grant {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.last.Role == "" {
		return nil
	}
	g := i.last
	return &g
}

// inForce reports whether the last grant is a primary's that has not run out.
func (i *issuer) inForce() bool {
	g := i.previous()
	return g != nil && g.Role == grant.Primary && i.now().Before(g.Deadline)
}

// issue writes what the judge says. A grant to be primary takes its deadline from the lease, and is not written unless the lease is in
// force in that very epoch. fence makes a stop act at once. The view is asked for under the lock: the lease loop has stored what it knows
// before it comes here to fence, so a verdict on an older view cannot take that back.
//
// vote is the version that the volume has voted on, if its server streams from nobody because of that: a grant to stream by the word of a newer
// one is news then, although it says nothing else than the grant before.
func (i *issuer) issue(g grant.Grant, me grant.Incarnation, fence bool, vote epoch.Version, view func() lease.View) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	now, v := i.now(), view()
	switch {
	case g.Role == grant.Primary && (!v.InForce(now) || v.Record.Epoch != g.Epoch || v.Record.Reign != g.Reign || v.Record.Timeline != g.Timeline):
		return nil // the lease has moved on since this was judged; the next verdict knows
	case g.Role == grant.Primary:
		g.Deadline = v.Deadline
	case g.Role == grant.Stop && fence:
		g.Deadline = now
		if i.last.Role == grant.Stop && i.last.Deadline != 0 && i.last.Epoch == g.Epoch {
			g.Deadline = min(now, i.last.Deadline) // said already; the same words again are no change
		}
	case g.Role == grant.Stop && v.InForce(now) && v.Record.Epoch == g.Epoch:
		g.Deadline = v.Deadline // an orderly shutdown takes its time under the lease
	}
	g.Holder, g.Format = me, grant.Format
	return i.write(g, i.last.Bound(vote).Upstream == nil && g.Bound(vote).Upstream != nil)
}

// renewed is called by the lease loop whenever what it knows has changed. It moves the deadline of the reign's grant, and turns a reign that
// another holder has ended into a stop that acts at once.
func (i *issuer) renewed(v lease.View) {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.last
	reign := g.Role == grant.Primary || g.Role == grant.Stop && g.Deadline != 0
	switch {
	case !reign:
		return
	case v.Mine && v.Record.Epoch == g.Epoch && v.Deadline != 0:
		if g.Role == grant.Stop && g.Deadline.Before(i.now()) {
			return // a fence is not taken back
		}
		g.Deadline = v.Deadline
	case g.Role == grant.Primary && v.Recalls(i.now()) && v.Recalled.Epoch == g.Epoch && v.Recalled.Reign == g.Reign:
		g.Deadline = max(g.Deadline, v.Deadline)
	case g.Role == grant.Primary && v.Known == lease.Present && !v.Mine && i.now().Before(g.Deadline):
		g.Role, g.Deadline = grant.Stop, i.now()
		g.Reason = "another holder is recorded: " + v.Record.Holder.String()
	default:
		return
	}
	if err := i.write(g, false); err != nil {
		i.log.Error("grant not written", "error", err)
	}
}

// write replaces the file if anything differs, or if it is news for another reason. The sequence number grows with every change but a later deadline, so that guard's
// confirmation of a number says which word it has obeyed.
func (i *issuer) write(g grant.Grant, news bool) error {
	if !news && g.Role == i.last.Role && same(g, i.last) && i.last.Seq != 0 {
		if g.Deadline == i.last.Deadline {
			return nil
		}
		g.Seq = i.last.Seq
	} else {
		g.Seq = i.last.Seq + 1
	}
	if err := grant.Write(i.dir, g); err != nil {
		return err // the file has an older word, which ends by itself
	}
	if g.Seq != i.last.Seq {
		i.log.Info("grant written", "seq", g.Seq, "role", g.Role, "epoch", g.Epoch.String(), "timeline", g.Timeline, "reason", g.Reason)
	}
	i.last = g
	return nil
}

// same compares two grants except for what changes all the time: sequence number, deadline, and the record's version, unless that is
// what is voted on.
func same(a, b grant.Grant) bool {
	a.Seq, b.Seq, a.Deadline, b.Deadline = 0, 0, 0, 0
	a.Format, b.Format = 0, 0
	if !a.Vote {
		a.Version, b.Version = epoch.Version{}, epoch.Version{}
	}
	return reflect.DeepEqual(a, b)
}
