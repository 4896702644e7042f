package guarding

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/plan"
	"github.com/pgspan/pgspan/agents/internal/postmaster"
	"github.com/pgspan/pgspan/agents/internal/seeding"
)

// life is one server from its start to its proven end.
type life struct {
	server    *postmaster.Server
	kind      grant.Server
	reign     Reign
	ready     *seeding.Ready
	granted   grant.Grant // what the configuration was rendered for
	commands  []string    // the command line it was started with
	accepting bool
	since     boottime.Instant // when it began to accept connections
	stopping  bool
	killAt    boottime.Instant // when the shutdown has taken too long
	hold      string           // why the promotion under the grant holdSeq was given up
	holdSeq   uint64
	holdUntil boottime.Instant // no other try before
	up        bool             // it has got so far that it can be told to reload
	reload    bool             // files have changed and the server was not told yet
	deriveAt  boottime.Instant // no try to derive keys and configuration before
	limitsAt  boottime.Instant // no look at a standby's limits before
	controlAt time.Time        // of the control file that was last looked at for them
	signal    bool             // standby.signal, when it could last be looked for
	before    uint32           // the newest timeline with a history, before the promotion
	began     string           // why it was started as what it is
	why       string           // why it is to end
	noted     string           // what was last said of the configuration
}

// idle waits, with no server, until one is started. It returns nil when the container is to end.
func (g *Guard) idle(ctx context.Context, signals <-chan os.Signal) *life {
	for ctx.Err() == nil {
		newest := g.grants.newest.Load()
		g.noteFence(newest)
		action, reason := Next(Facts{
			Now: boottime.Now(), Grant: newest, Server: grant.Down, Terminating: g.end.asked, Retry: g.retry,
		})
		switch action {
		case Leave:
			g.say(grant.Stopped, grant.Down, reason)
			return nil
		case Start:
			l, err := g.start(ctx, signals)
			if l != nil {
				return l
			}
			// A free lock shows that nothing of ours touches the volume, so it is held only while something does.
			g.unlock()
			if err != nil {
				g.failed("start server: " + err.Error())
			} else {
				g.wait(ctx, signals, nil, turn)
			}
			continue
		}
		if g.trouble != "" && boottime.Now().Before(g.retry) {
			reason = g.trouble // better kept in sight than the fact that a pause is made
		}
		g.say(g.down(), grant.Down, reason)
		g.wait(ctx, signals, nil, calm)
	}
	return nil
}

// down is the phase of a guard without a server.
func (g *Guard) down() grant.Phase {
	if g.ran {
		return grant.Stopped
	}
	return grant.Waiting
}

func (g *Guard) unlock() {
	if g.lock == nil {
		return
	}
	if err := g.lock.Close(); err != nil {
		g.log.Warn("volume lock cannot be closed", "error", err.Error())
	}
	g.lock = nil
}

// prepare brings the volume to where a server may be started, by the plan that seed uses too. It gives up when it is told to stop: nil
// and no error.
func (g *Guard) prepare(ctx context.Context, signals <-chan os.Signal) (*seeding.Ready, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		ready *seeding.Ready
		err   error
	}
	done := make(chan struct{})
	var r result
	go func() {
		defer close(done)
		r.err = g.reaper.Aside(func() (err error) {
			r.ready, err = seeding.Prepare(ctx, seeding.Options{
				Pod: g.config.Pod, Program: program, Report: g.report, Log: g.log,
			})
			return err
		})
	}()
	for gaveUp := false; ; {
		g.wait(ctx, signals, done, turn)
		select {
		case <-done:
			if r.ready != nil {
				g.lock = r.ready.Lock
			}
			if gaveUp && errors.Is(r.err, context.Canceled) {
				return nil, nil
			}
			return r.ready, r.err
		default:
		}
		newest := g.grants.newest.Load()
		if g.end.asked || newest != nil && newest.Role == grant.Stop {
			gaveUp = true
			cancel()
		}
		if g.end.asked && !boottime.Now().Before(g.end.leave) {
			return nil, fmt.Errorf("the volume does not answer")
		}
	}
}

// start starts a server. It returns neither a life nor an error when the word has changed meanwhile.
func (g *Guard) start(ctx context.Context, signals <-chan os.Signal) (*life, error) {
	ready, err := g.prepare(ctx, signals)
	if ready == nil {
		return nil, err
	}
	accepted := g.grants.newest.Load()
	now := boottime.Now()
	if accepted == nil || !sameOrder(*accepted, ready.Grant) || !accepted.Valid(g.me, now) || g.end.asked {
		return nil, nil
	}
	newest := *accepted
	l := &life{kind: grant.Standby, ready: ready, granted: ready.Grant, commands: ready.Derived.CommandLine, signal: true}
	writable, why := g.mayWrite(newest, ready, now)
	if writable {
		l.kind, l.reign = grant.Writable, ReignOf(newest)
	}
	l.began = why
	g.log.Info("server is started", "as", string(l.kind), "reason", why, "seq", newest.Seq)

	data := g.paths.Data()
	g.reaper.Collect()
	if err := pgdata.RemovePostmasterPID(data); err != nil {
		return nil, err
	}
	if err := postmaster.RemoveSockets(g.config.Socket); err != nil {
		return nil, err
	}
	if !writable {
		if c := ready.Data.Control; c != nil {
			begun, err := pgdata.DropStub(data, *c)
			if err != nil {
				return nil, err
			}
			if begun != 0 {
				g.log.Warn("timeline that was only begun is removed", "timeline", begun)
			}
		}
		if err := pgdata.SetStandby(data, true); err != nil {
			return nil, err
		}
	}
	g.report.Update(func(s *grant.State) {
		s.Phase, s.Server, s.Reason, s.Seq = grant.Starting, l.kind, why, newest.Seq
		s.KilledAll, s.LastPID, s.Began = false, 0, 0
		s.Settings, s.Raised = ready.Settings.Fingerprint, ready.Derived.Raised
	})
	if writable {
		g.grants.begin(l.reign, newest)
	}
	if err := g.fork(ctx, l); err != nil {
		return nil, err
	}
	return l, nil
}

// fork starts the process and leaves the volume's lock to it.
func (g *Guard) fork(ctx context.Context, l *life) error {
	server, err := postmaster.Start(g.reaper, postmaster.Command{
		Program: l.ready.Tools.Path["postgres"], Args: l.commands, Data: g.paths.Data(),
		Env: postmaster.CleanEnv(os.Environ()), Lock: g.lock.File(),
	})
	if err != nil {
		if _, stop := g.fence.Disarm(ctx); stop != nil {
			return errors.Join(err, stop)
		}
		g.grants.end()
		return err
	}
	g.fence.Target(server.PID())
	l.server = server
	g.ran, g.trouble = true, ""
	g.unlock()
	g.report.Update(func(s *grant.State) { s.LastPID, s.Began = server.PID(), boottime.Now() })
	return nil
}

// sameOrder reports whether the plan that was made for one grant holds for a newer one: it tells to be the same thing in the same reign.
func sameOrder(newest, planned grant.Grant) bool {
	return newest.Role == planned.Role && ReignOf(newest) == ReignOf(planned) && newest.SystemID == planned.SystemID
}

// mayWrite says whether a start without standby.signal is allowed (SAFETY rule 15). The file itself is the last word: a directory that has
// it was last started as a standby, or its promotion has not come to its end, and such a one becomes primary only by a promotion.
func (g *Guard) mayWrite(newest grant.Grant, ready *seeding.Ready, now boottime.Instant) (bool, string) {
	ok, why := plan.Writable(newest, ready.Me, now, ready.Note, ready.Data)
	if ok && ready.Data.StandbySignal {
		return false, "standby.signal is there: the last start was a standby's, or its promotion was not finished"
	}
	return ok, why
}
