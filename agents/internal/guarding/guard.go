// Package guarding is guard: the first process of the server's container. It runs PostgreSQL as a child and only as the present grant says,
// through any number of starts, promotions, shutdowns and fences, until the container is told to end.
//
// Three goroutines matter for safety and share nothing but atomics: the fence (package fence) kills a primary whose grant has run out, the
// grants reader prolongs it, and Guard.Run does everything that touches the volume and may therefore hang. What to do next is judged by
// Next, which is pure.
package guarding

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/fence"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/reaper"
	"github.com/pgspan/pgspan/agents/internal/report"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
)

// program is how guard signs what it writes.
const program = "guard"

const (
	// turn is the longest time between two looks at the facts while something is under way.
	turn = 100 * time.Millisecond
	// calm is the same when nothing is: what matters then wakes guard by itself.
	calm = 500 * time.Millisecond
)

// Guard runs one server.
type Guard struct {
	config Config
	paths  layout.Paths
	me     grant.Incarnation
	log    *slog.Logger

	fence   *fence.Fence
	reaper  *reaper.Reaper
	grants  *grants
	report  *report.Reporter
	sources *sources

	lock       *volumelock.Lock // held by guard itself; nil while the server holds it, or nobody
	end        ending
	failures   int              // starts in a row that did not lead to a settled server
	retry      boottime.Instant // no start before
	trouble    string           // why the last start, or the last server, failed
	warned     string           // the last warning, so that it is not repeated
	fenceNoted uint64           // the grant whose word to stay stopped is noted
	ran        bool             // a server was started by this guard
	lastExit   int
	worst      time.Duration // longest measured time from firing the fence to a free lock
}

// ending is what the container was told about its end.
type ending struct {
	asked  bool
	handBy boottime.Instant // when a primary is shut down although keeper has not said so
	kill   boottime.Instant // when a server that still runs is killed
	leave  boottime.Instant // when guard goes, whatever is left
}

// New makes a guard. It refuses to run as anything but the first process of its container.
func New(c Config, log *slog.Logger) (*Guard, error) {
	container, err := fence.InContainer()
	if err != nil {
		return nil, err
	}
	boot, err := boottime.BootID()
	if err != nil {
		return nil, err
	}
	g := &Guard{
		config: c, paths: c.Paths(), me: c.Incarnation(boot), log: log,
		fence: fence.New(container), reaper: reaper.New(), sources: newSources(log, c.Settings, c.TLS),
	}
	first := grant.State{Writer: program, Pod: c.PodUID, Phase: grant.Waiting, Server: grant.Down}
	g.takeOver(&first)
	g.report = report.New(c.Control, first, log)
	g.grants = newGrants(c.Control, g.me, first.Seq, g.fence, log)
	return g, nil
}

// takeOver keeps what an earlier guard, or seed, of this pod has reported: which grant was obeyed last, so that an older one is not obeyed
// now, and the longest stop.
func (g *Guard) takeOver(first *grant.State) {
	old, err := grant.ReadState(g.config.Control)
	if err != nil || old.Pod != g.config.PodUID {
		return
	}
	first.Seq, first.StopSeconds, first.LastExit, first.Volume = old.Seq, old.StopSeconds, old.LastExit, old.Volume
	g.worst = time.Duration(old.StopSeconds * float64(time.Second))
}

// Run guards until a signal tells the container to end, and returns the exit code: the server's, if one was running then.
func (g *Guard) Run(ctx context.Context, signals <-chan os.Signal) int {
	background, cancel := context.WithCancel(ctx)
	go g.fence.Watch(background)
	go g.reaper.Run(background)
	go g.grants.run(background)
	go g.sources.run(background)
	go g.tellOfKills(background)
	go g.tryDisk(background)
	reported := make(chan struct{})
	go func() { g.report.Run(background); close(reported) }()
	defer func() { cancel(); <-reported }()

	for {
		l := g.idle(ctx, signals)
		if l == nil {
			return 0
		}
		g.attend(ctx, signals, l)
		proven := g.prove(ctx, signals, l)
		if g.end.asked {
			return g.lastExit
		}
		if !proven {
			return 1 // only when ctx has ended
		}
	}
}

// Alive reports whether the fence still looks at the clock. Nothing else decides about guard's own life: a server that does not start, a
// volume that hangs or a missing grant is not cured by killing guard.
func (g *Guard) Alive() bool { return g.fence.Age() < time.Second }

// tellOfKills reports SIGKILL to all even when the rest of guard hangs in a call to a dead volume: keeper may let the lease lapse with
// the lock still held only then (SAFETY D11).
func (g *Guard) tellOfKills(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.fence.Kills(): // again and again until the fence is disarmed, so a report that came too early is made up for
		}
		var stop uint64 // nothing starts after this word, whatever the main loop hangs in
		if newest := g.grants.newest.Load(); newest != nil && newest.Role == grant.Stop {
			stop = newest.Seq
		}
		if told := g.report.Current(); !g.fence.KilledAll() || told.KilledAll && told.Seq >= stop {
			continue
		}
		g.report.Update(func(s *grant.State) {
			// Asked again here: the main loop may have proven the server dead, and even started another, meanwhile.
			if g.fence.KilledAll() && s.Server != grant.Down {
				s.KilledAll, s.Phase, s.Seq = true, grant.Stopping, max(s.Seq, stop)
			}
		})
	}
}

// hear takes a signal that guard was sent.
func (g *Guard) hear(sig os.Signal) {
	now := boottime.Now()
	switch {
	case isReload(sig):
		g.sources.poke()
	case isImmediate(sig):
		g.end = ending{true, now, now, now.Add(lastResort)}
	case !g.end.asked:
		// Keeper has 40 % of the grace period for a hand-over: choosing an heir, a checkpoint. The rest is for the shutdown itself.
		g.end = ending{true, now.Add(g.config.StopTimeout * 2 / 5), now.Add(g.config.StopTimeout - lastResort), now.Add(g.config.StopTimeout - time.Second)}
	default:
		return
	}
	g.report.Update(func(s *grant.State) { s.Ending = true })
	g.log.Info("signal received", "signal", sig.String())
}

// say brings the reported state to the given one. It writes nothing when nothing has changed: the reporter's beat sees to the rest.
func (g *Guard) say(p grant.Phase, server grant.Server, reason string) {
	old := g.report.Current()
	seq := old.Seq
	if newest := g.grants.newest.Load(); newest != nil {
		seq = newest.Seq
	}
	if old.Phase == p && old.Server == server && old.Reason == reason && old.Seq == seq {
		return
	}
	g.report.Update(func(s *grant.State) { s.Phase, s.Server, s.Reason, s.Seq = p, server, reason, seq })
}

// wait returns at the next thing that may change the facts.
func (g *Guard) wait(ctx context.Context, signals <-chan os.Signal, done <-chan struct{}, longest time.Duration) {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-done:
	case <-g.grants.fresh:
	case <-g.fence.Alarm():
	case <-g.sources.changed:
		g.sources.due = true
	case sig := <-signals:
		g.hear(sig)
	case <-timer.C:
	}
}

// failed counts a start that came to nothing, or a server that ended by itself.
func (g *Guard) failed(why string) {
	g.failures++
	g.retry = boottime.Now().Add(pause(g.failures))
	g.trouble = why
	g.log.Warn("server does not run", "reason", why, "failures", g.failures)
}

// warn logs, once, what went wrong in doing something that is tried again.
func (g *Guard) warn(doing string, err error) {
	if w := doing + ": " + err.Error(); w != g.warned {
		g.warned = w
		g.log.Warn("not done, is tried again", "step", doing, "error", err.Error())
	}
}
