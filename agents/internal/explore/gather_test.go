package explore

import (
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
)

func free(v lease.View, now boottime.Instant) bool {
	return v.Known == lease.Present && (v.Record.Free() || v.Expired(now))
}

// elect asks the others, while the record is free.
func (k *keeper) elect() {
	s, v := k.s, k.loop.View()
	if !free(v, k.h.clock()) {
		k.heard = [members]*answered{}
		return
	}
	for _, h := range s.hosts {
		if h == k.h || !s.net.linked(k.h.id, h.id) {
			continue
		}
		lost := s.pick(8, s.odd/2) == 7
		s.after(s.jitter(2*time.Millisecond, 40*time.Millisecond, 200*time.Millisecond), nil, func() {
			if lost || h.keeper == nil {
				return
			}
			s.after(0, &h.keeper.process, func() {
				standing := h.keeper.standing()
				standing.Barred, standing.Unfit = standing.Unfit, "" // as others are told
				if !s.net.linked(k.h.id, h.id) {
					return
				}
				s.after(s.jitter(2*time.Millisecond, 40*time.Millisecond, 200*time.Millisecond), &k.process, func() {
					k.heard[h.id] = &answered{standing, k.h.clock()}
					k.judge()
				})
			})
		})
	}
}

func (k *keeper) gather() judge.Facts {
	v, now, st := k.loop.View(), k.h.clock(), k.h.control.state
	f := judge.Facts{Me: k.h.me, Pod: k.h.me.Member, Host: k.h.me.Member, IP: "10.0.0.1", Port: 5432, Lease: "a", Namespace: "n", Handover: k.handover}
	answer := v.Answered
	if answer == 0 {
		answer = k.began
	}
	known := map[lease.Known]judge.Known{lease.Absent: judge.Absent, lease.Present: judge.Present, lease.Broken: judge.Broken}[v.Known]
	f.Store = judge.Store{
		Known: known, Record: v.Record, Version: v.Version, Problem: v.Problem, Silent: now.Sub(answer), Mine: v.Mine, InForce: v.InForce(now),
		Expired: v.Expired(now), Seen: v.Seen, Vacant: v.Vacant(now), AbsentWait: v.AbsentWait, FreeFor: v.FreeFor(now),
	}
	f.Local.Standing, f.Local.Replayed = k.standing(), k.replayed
	if k.s.broken.unvotedCount && !k.position.known {
		f.Local.Standing.Known = false // its own vote it does cast
	}
	if st == nil || st.Server != grant.Standby {
		f.Local.Replayed = nil
	}
	if k.last.Role != "" {
		last := k.last
		f.Local.Previous = &last
		f.Local.PreviousInForce = last.Role == grant.Primary && now.Before(last.Deadline)
	}
	if st != nil {
		f.Local.State, f.Local.Stale = st, now.Sub(st.Beat) > 3*time.Second
		switch {
		case st.Server != grant.Standby:
			k.standby = 0
		case k.standby == 0:
			k.standby = now
		}
		if k.standby != 0 {
			f.Local.StandbyFor = now.Sub(k.standby)
		}
		// A primary that has not shut down in time begins anew all the same.
		if st.Server != grant.Down && st.LastPID == k.rerun && (st.Server == grant.Standby || now.Sub(k.rerunAt) < 1500*time.Millisecond) {
			f.Local.Restart = "asked for"
		}
	}
	if votes := st != nil && free(v, now) && st.Vote == v.Record.Version() && !f.Local.Stale && f.Store.Silent < 3*time.Second; !votes {
		k.voting = 0
	} else if k.voting == 0 {
		k.voting = now
	}
	f.Election = judge.Election{Wait: waitForOthers, MaxLag: 1 << 40, MaxDiscard: 1 << 40}
	if k.voting != 0 {
		f.Election.For = now.Sub(k.voting)
	}
	for _, a := range k.heard {
		if a == nil || now.Sub(a.at) > 600*time.Millisecond {
			continue
		}
		p := a.standing
		if k.s.broken.unvotedCount {
			p.Version = v.Record.Version()
		}
		f.Election.Peers = append(f.Election.Peers, p)
	}
	if k.s.broken.fewerHeard && f.Store.Record.Sync != nil {
		sync := *f.Store.Record.Sync
		sync.K++
		f.Store.Record.Sync = &sync
	}
	if k.s.broken.anybodyInherits && f.Local.Replayed != nil && v.Record.Released {
		end := v.Record.LSN + 1
		f.Local.Replayed, f.Local.Standing.Timeline = &end, v.Record.Timeline
	}
	return f
}
