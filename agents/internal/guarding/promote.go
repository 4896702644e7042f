package guarding

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
)

// holdTime is the pause after a promotion that was given up before the server was told. A renewal of the grant changes nothing about it, and
// most of what can be in the way goes by itself: a full volume, a slow one, a grant with little time left.
const holdTime = 2 * time.Second

// held keeps why a promotion under the grant seq was given up.
func (l *life) held(seq uint64, why string) {
	l.hold, l.holdSeq, l.holdUntil = why, seq, boottime.Now().Add(holdTime)
}

// promote makes the standby a primary, or leaves it a standby and says why. From the moment that it may have been told, it is treated as
// a primary (SAFETY D15).
func (g *Guard) promote(ctx context.Context, l *life, to grant.Grant) {
	if err := g.ready(ctx, l, to); err != nil {
		l.held(to.Seq, err.Error())
		g.warn("promote server", err)
		return
	}
	l.kind, l.reign = grant.Promoting, ReignOf(to)
	g.grants.begin(l.reign, to)
	g.say(l.phase(), l.kind, to.Reason)

	// The volume may have been slow. The last look at the clock, and at the grant, is here, with the fence armed already.
	newest := g.grants.newest.Load()
	switch left := g.fence.Deadline().Sub(boottime.Now()); {
	case newest.Role != grant.Primary || ReignOf(*newest) != l.reign:
		g.callOff(ctx, l, to.Seq, "the grant has changed")
		return
	case left < g.config.FenceAfter/2:
		g.callOff(ctx, l, to.Seq, "the volume was slow: too little of the grant is left")
		return
	}
	if err := l.server.Promote(); err != nil {
		// The file may be there, and any later signal to the postmaster would make it act on it. The next start removes it.
		l.why = err.Error()
		g.log.Warn("server is killed", "reason", l.why)
		g.fence.Fire()
		return
	}
	g.log.Info("server is promoted", "epoch", to.Epoch.String(), "timeline", to.Timeline, "seq", to.Seq, "reason", to.Reason)
}

// callOff undoes what promote has done before the server was told.
func (g *Guard) callOff(ctx context.Context, l *life, seq uint64, why string) {
	if _, err := g.fence.Disarm(ctx); err != nil {
		return // ctx has ended: so does guard
	}
	g.grants.end()
	g.fence.Target(l.server.PID())
	l.kind, l.reign = grant.Standby, Reign{}
	l.held(seq, why)
	g.log.Warn("promotion called off", "reason", why)
}

// ready puts on disk what must be there before a promotion: the timeline forced to the granted one (SAFETY rule 14), and the note that
// this directory becomes primary (SAFETY D20).
func (g *Guard) ready(ctx context.Context, l *life, to grant.Grant) error {
	if note, _, err := notes.ReadMember(g.paths); err != nil {
		return err
	} else if to.Epoch.Compare(note.HighestEpoch) < 0 {
		return fmt.Errorf("the grant is for epoch %s, this volume has seen %s: the record was restored from an older state", to.Epoch, note.HighestEpoch)
	}
	var data pgdata.Facts
	err := g.reaper.Aside(func() (err error) {
		data, err = pgdata.Inspect(ctx, l.ready.Tools, g.paths.Data())
		return err
	})
	if err != nil {
		return err
	}
	if data.Control == nil {
		return errors.New(data.ControlProblem)
	}
	own := max(data.Control.NewestTimeline(), data.HighestHistory)
	if to.Timeline <= own {
		return fmt.Errorf("timeline %d is used up: the server is on timeline %d, or a promotion to it was interrupted; a grant on a newer one is needed", to.Timeline, own)
	}
	l.before = data.HighestHistory
	if err := pgdata.ReserveTimelines(g.paths.Data(), own, to.Timeline); err != nil {
		return err
	}
	note, err := notes.Update(g.paths, func(m *notes.Member) { m.Reign(to.Epoch, to.Reign, to.Timeline) })
	if err != nil {
		return err
	}
	// Not into the reported state yet: keeper would take a standby that was primary in this very epoch for one whose promotion has failed.
	l.ready.Note = note
	return notes.AddHistory(g.paths, notes.Event{
		Time: time.Now(), What: "promoted", Reason: to.Reason, Pod: g.config.PodName, Epoch: to.Epoch,
		Detail: map[string]string{"timeline": fmt.Sprint(to.Timeline), "before": fmt.Sprint(own)},
	})
}

// promoted is called when a server that was told to promote has removed standby.signal: it opens now, or has opened.
func (g *Guard) promoted(l *life) {
	newest, err := pgdata.HighestHistory(g.paths.Data())
	if err != nil {
		g.warn("look for the new timeline", err)
		return
	}
	opened, wrong := lineOpened(newest, l.before, l.reign.Timeline)
	if wrong {
		l.why = fmt.Sprintf("the server was promoted to timeline %d, granted is %d", newest, l.reign.Timeline)
		g.log.Error("server is killed", "reason", l.why)
		g.fence.Fire()
	}
	if !opened {
		return
	}
	l.kind = grant.Writable
	g.sources.due = true // what was raised for a standby is the leader's own to choose now
	g.report.Update(func(s *grant.State) {
		if s.Volume != nil {
			v := *s.Volume
			v.WasPrimary, v.PrimaryReign, v.PrimaryLine, v.Timeline = l.reign.Epoch, l.reign.Name, l.reign.Timeline, l.reign.Timeline
			s.Volume = &v
		}
	})
}

// lineOpened judges a promotion by the newest timeline that has a history, before it and now. A server that has removed standby.signal
// and written no history yet is neither on the right timeline nor on a wrong one: PostgreSQL 15 does it in that order, later ones the other
// way round.
func lineOpened(newest, before, granted uint32) (opened, wrong bool) {
	return newest == granted, newest != granted && newest != before
}
