package explore

import (
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

// setter keeps the synchronous set of a leader, in the order of SAFETY rule 11. It stands in for what keeper will do.
type setter struct {
	reign string
	in    []int // what PostgreSQL was told
	goal  []int // what is under way; nil: nothing
	mark  int   // all of goal must have flushed up to here before the record is told
	told  []int // what the record is told
	asked bool
}

func (k *keeper) manage() {
	sv, v := k.h.server, k.loop.View()
	st := k.h.control.state
	if !k.s.sync || !v.InForce(k.h.clock()) || sv == nil || !sv.writable() || sv.frozen || st == nil || st.Server != grant.Writable {
		return
	}
	t := &k.setter
	if name := v.Record.Reign + string(rune('0'+sv.pid)); t.reign != name {
		*t = setter{reign: name} // a new reign, or a new life of the server: it is started with a list that cannot be met
	}
	var recorded []int
	if v.Record.Sync != nil {
		for _, m := range v.Record.Sync.Members {
			recorded = append(recorded, hostOf(m))
		}
	}
	streams := sv.streaming()
	switch {
	case len(streams) == 0:
		return
	case t.goal == nil && slices.Equal(streams, recorded) && slices.Equal(streams, t.in):
		return
	case t.goal == nil || !slices.Equal(t.goal, streams):
		// Stronger first: only who is in both acknowledges while the change is under way.
		var both []int
		for _, h := range t.in {
			if slices.Contains(streams, h) {
				both = append(both, h)
			}
		}
		if k.s.broken.weakerFirst {
			both = streams
		}
		t.goal, t.told, t.in, t.asked = streams, nil, both, false
		k.s.after(10*time.Millisecond, &sv.process, func() {
			sv.sync = both
			mark := len(k.h.volume.wal)
			k.s.after(5*time.Millisecond, &k.process, func() { t.mark, t.asked = mark, true })
		})
	case !t.asked:
	case t.told == nil:
		for _, h := range t.goal {
			if sv.flushedBy(h) < t.mark && !k.s.broken.addedTooEarly {
				return
			}
		}
		t.told = t.goal
		k.tell(v.Record.Epoch)
		k.nudge()
	case slices.Equal(recorded, t.told):
		goal := t.goal
		t.in, t.goal = goal, nil
		k.s.after(10*time.Millisecond, &sv.process, func() { sv.sync = goal })
	}
}
