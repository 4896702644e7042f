package guarding

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
)

// orphaned is why processes are killed that a server which ended by itself has left.
const orphaned = "the server ended and left processes behind"

const (
	// orphans is how long backends have to notice that their postmaster is gone.
	orphans = 200 * time.Millisecond
	// again is how often the lock is tested.
	again = 10 * time.Millisecond
)

// prove waits until no process of the server is left, which the lock shows, and kills what does not go by itself. It reports false when
// it had to give up because the container ends.
func (g *Guard) prove(ctx context.Context, signals <-chan os.Signal, l *life) bool {
	began := boottime.Now()
	fired := g.fence.Fired()
	if fired && l.why == "" {
		l.why = fmt.Sprintf("the grant to be primary (%s) has run out", l.reign)
		g.log.Warn("server is killed", "reason", l.why)
	}
	g.say(grant.Stopping, l.kind, l.why)
	for ctx.Err() == nil {
		if l.server.Ended() && !fired && boottime.Now().Sub(began) > orphans {
			// Nobody leads these processes any more. A busy one may go on for hours, and as long as it does no server can be started.
			g.log.Warn("server processes outlive their postmaster and are killed")
			l.why = orphaned
			g.fence.Kill()
			fired = true
		}
		if g.free(l) {
			g.buried(ctx, l)
			return true
		}
		if g.end.asked && !boottime.Now().Before(g.end.leave) {
			g.log.Error("server processes do not die; the container ends with them", "reason", l.why)
			g.lastExit = 128 + 9
			return false
		}
		g.wait(ctx, signals, nil, again)
	}
	return false
}

// free reports whether the volume's lock shows that no process of the server is left: nobody holds it, or another pod already does. The lock's text
// says whose it is only if this server's own could be written there: otherwise it may still be that of a pod before this one.
func (g *Guard) free(l *life) bool {
	free, holder, err := volumelock.Free(g.paths.Lock())
	if err != nil {
		g.warn("test the volume's lock", err)
		return false
	}
	return free || l.ready.Lock.Signed() && holder.UID != "" && holder.UID != g.config.PodUID
}

// buried reports the end of a server that was proven.
func (g *Guard) buried(ctx context.Context, l *life) {
	g.reaper.Collect() // the lock is free a moment before the dead can be asked how they ended
	exit := "unknown"
	select {
	case <-l.server.Done():
		g.lastExit, exit = l.server.Exit()
	case <-time.After(time.Second):
		g.lastExit = 1
	}
	fenced, killed := g.fence.Fired(), g.fence.KilledAll()
	took, err := g.fence.Disarm(ctx)
	if err != nil {
		return // ctx has ended: so does guard
	}
	g.grants.end()
	g.worst = max(g.worst, took)

	g.log.Info("server stopped", "as", string(l.kind), "exit", exit, "reason", l.why, "killed", killed, "seconds", took.Seconds())
	g.retry, g.trouble = 0, ""
	switch {
	case l.stopping || fenced && l.why != orphaned:
		g.failures = 0
	default:
		if l.accepting && boottime.Now().Sub(l.since) > settled {
			g.failures = 0
		}
		l.why = "the server ended by itself (" + exit + "); its own log says why"
		g.failed(l.why)
	}
	g.report.Update(func(s *grant.State) {
		s.Phase, s.Server, s.Reason = grant.Stopped, grant.Down, l.why
		s.KilledAll, s.StopSeconds, s.LastExit, s.LastPID, s.Began = killed, g.worst.Seconds(), exit, 0, 0
		s.Vote = epoch.Version{}
	})
}
