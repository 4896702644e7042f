package explore

import (
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/quorum"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// demands are the ways in which a release may be synchronous.
var demands = []quorum.Facts{{Mode: quorum.Strict, Number: 1}, {Mode: quorum.Any, Number: 1}, {Mode: quorum.Strict, Number: 2}, {Mode: quorum.Any, Number: 2}}

// setter does, for a leader, what package quorum decides about the server's list and the record's promise.
type setter struct {
	server  *server
	reign   string
	ordered quorum.Set
	inForce bool
	mark    int         // what a member must have flushed to have caught up
	telling bool        // a promise was given to the lease loop and is not confirmed
	told    *quorum.Set // that promise
	seen    [members]time.Duration
}

func setOf(s *record.Sync) *quorum.Set {
	if s == nil {
		return nil
	}
	return &quorum.Set{K: s.K, Members: s.Members}
}

// manage takes one step.
func (k *keeper) manage() {
	sv, v, st := k.h.server, k.loop.View(), k.h.control.state
	if !k.s.sync || !v.InForce(k.h.clock()) || sv == nil || !sv.writable() || sv.frozen || st == nil || st.Server != grant.Writable {
		return
	}
	t := &k.setter
	if t.server != sv || t.reign != v.Record.Reign { // every life of a server begins with a list that cannot be met
		*t = setter{server: sv, reign: v.Record.Reign, ordered: quorum.Nobody()}
		for i := range t.seen {
			t.seen[i] = k.s.now
		}
		k.order(quorum.Nobody())
		return
	}
	f := k.s.demand
	f.Leader, f.Record, f.Ordered, f.InForce, f.Members = k.h.me.Member, setOf(v.Record.Sync), t.ordered, t.inForce, map[string]quorum.Member{}
	if t.telling && t.told != nil && f.Record != nil && f.Record.Equal(*t.told) {
		t.telling = false
	}
	f.Pending = t.telling
	streams := sv.streaming()
	for _, h := range k.s.hosts {
		if h == k.h {
			continue
		}
		m := quorum.Member{Streams: slices.Contains(streams, h.id), CaughtUp: sv.flushedBy(h.id) >= t.mark}
		if m.Streams {
			t.seen[h.id] = k.s.now
		}
		m.Away = k.s.now - t.seen[h.id]
		f.Members[memberOf(h.id)] = m
	}
	step := quorum.Next(f)
	if k.s.broken.weakerFirst && f.Record != nil && !f.Pending {
		unpromised := f
		unpromised.Record = &quorum.Set{}
		if s := quorum.Next(unpromised); s.Order != nil {
			step = s
		}
	}
	switch {
	case step.Order != nil:
		k.s.note("member %d orders %s; promised %v; %s", k.h.id, step.Order, f.Record, step.Reason)
		k.order(*step.Order)
	case step.Write:
		k.s.note("member %d promises %v; ordered %s, promised %v; %s", k.h.id, step.Record, f.Ordered, f.Record, step.Reason)
		t.telling, t.told = true, step.Record
		k.tell(v.Record.Epoch)
		k.nudge()
	}
}

// order gives the server another list. It is in force when every process of the server goes by it.
func (k *keeper) order(list quorum.Set) {
	t, sv := &k.setter, k.h.server
	t.ordered, t.inForce = list, false
	k.s.after(10*time.Millisecond, &sv.process, func() {
		sv.sync = list
		k.s.after(5*time.Millisecond, &k.process, func() {
			if t.server == sv && t.ordered.Equal(list) {
				t.inForce, t.mark = true, len(k.h.volume.wal)
			}
		})
	})
}
