// Package seeding brings a volume to where a server may be started on it: lock, derive keys and configuration, inspect, report, wait for
// a grant, plan, do. seed runs it as the init container, for the first clone; guard before every start. Whatever kills it, the next run
// ends right: what it does is written to the journal first, and a new data directory becomes the data directory by one rename.
package seeding

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/derive"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/plan"
	"github.com/pgspan/pgspan/agents/internal/podenv"
	"github.com/pgspan/pgspan/agents/internal/report"
	"github.com/pgspan/pgspan/agents/internal/settings"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
)

// Options are who prepares what.
type Options struct {
	Pod     podenv.Pod
	Program string // "seed" or "guard": signs the lock
	Report  *report.Reporter
	Log     *slog.Logger
	// Step, if set, is called after each named step. A test kills the process in it.
	Step func(name string)
	// Lock, if set, is held already and is Prepare's from here on; otherwise Prepare waits for it.
	Lock *volumelock.Lock
}

// Ready is a volume that a server may be started on.
type Ready struct {
	Lock     *volumelock.Lock // held; the caller's from here on
	Grant    grant.Grant      // the one that was planned by
	Me       grant.Incarnation
	Settings settings.Settings
	Tools    pgtools.Tools
	Data     pgdata.Facts
	Note     notes.Member
	Derived  derive.Result
	Plan     plan.Plan

	journal *notes.Entry // of a rewind that came to nothing; closed before a server is started
}

// seeder is one call of Prepare.
type seeder struct {
	Options
	paths layout.Paths
	me    grant.Incarnation
	lock  *volumelock.Lock
	tools pgtools.Tools // found once: an image does not change
	told  map[string]bool

	wal     *pgdata.WAL    // what was found last, of the data directory with the control file walOf
	walOf   pgdata.Control // nothing but a server or a step of ours changes it
	settled bool           // the directory was brought to a clean shutdown
}

// Prepare returns when the data directory may be started, and not before, unless ctx ends. A refusal is no error: it is reported and
// waited out, because a person or a new grant resolves it, and a container that crashes in a loop would hide it.
func Prepare(ctx context.Context, o Options) (_ *Ready, err error) {
	if o.Step == nil {
		o.Step = func(string) {}
	}
	boot, err := boottime.BootID()
	if err != nil {
		return nil, errors.Join(err, closeLock(o.Lock))
	}
	s := &seeder{Options: o, paths: o.Pod.Paths(), me: o.Pod.Incarnation(boot), lock: o.Lock, told: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeLock(s.lock))
		}
	}()
	if err := s.takeLock(ctx); err != nil {
		return nil, err
	}
	if err := notes.Sweep(s.paths); err != nil {
		return nil, err
	}
	s.step(StepLocked)
	return s.loop(ctx)
}

func closeLock(l *volumelock.Lock) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// takeLock waits until this volume is nobody else's, and says who has it meanwhile. A volume whose files another user owns is refused
// like everything else that a person must see to.
func (s *seeder) takeLock(ctx context.Context) error {
	for {
		err := s.tryLock(ctx)
		if !errors.Is(err, fs.ErrPermission) {
			return err
		}
		s.say(grant.Refused, foreignOwner(err, os.Getuid(), s.paths.Notes(), s.paths.Data(), s.Pod.Volume))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
	}
}

func (s *seeder) tryLock(ctx context.Context) error {
	if err := notes.Make(s.paths); err != nil {
		return err
	}
	if s.lock != nil {
		return nil
	}
	lock, err := volumelock.Wait(ctx, s.paths.Lock(), s.Pod.Holder(s.Program), func(h volumelock.Holder) {
		s.say(grant.Locking, "the volume is in use by "+h.String()+": waiting until its last process is gone")
	})
	s.lock = lock
	return err
}

// foreignOwner says whose the volume is, by the first of the places that is there and belongs to somebody else.
func foreignOwner(err error, uid int, places ...string) string {
	for _, place := range places {
		info, statErr := os.Stat(place)
		if statErr != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != uid {
			return fmt.Sprintf("%s belongs to user %d and the server runs as user %d (%v): run the pods as user %d, or give the volume's files to user %d",
				place, st.Uid, uid, err, st.Uid, uid)
		}
	}
	return fmt.Sprintf("the volume cannot be written (%v): look at its mount options, and at database.podSecurityContext", err)
}

func (s *seeder) say(phase grant.Phase, reason string) {
	s.Report.Update(func(st *grant.State) { st.Phase, st.Reason = phase, reason })
}

func (s *seeder) step(name string) {
	s.Log.Debug("step done", "step", name)
	s.Step(name)
}

// once logs a finding once in a call of Prepare, however often it is looked at.
func (s *seeder) once(message, finding string) {
	if !s.told[finding] {
		s.told[finding] = true
		s.Log.Warn(message, "reason", finding)
	}
}

// readGrant returns nil when keeper has not written one.
func readGrant(control string) (*grant.Grant, error) {
	g, err := grant.Read(control)
	if errors.Is(err, grant.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &g, nil
}

// look again so often while nothing changes: settings and Secrets may, and a person may repair the volume.
const look = 2 * time.Second

// loop judges, and acts, until the verdict is to keep what is there.
func (s *seeder) loop(ctx context.Context) (*Ready, error) {
	wake := watchGrant(ctx, s.Pod.Control, s.Log)
	failures := 0
	for {
		ready, todo := s.judge(ctx)
		switch {
		case ready != nil:
			err := s.keep(ready)
			if err == nil {
				return ready, nil
			}
			s.say(grant.Waiting, err.Error())
		case todo != nil:
			err := s.do(ctx, *todo)
			if err == nil {
				failures = 0
				continue
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			failures++
			pause := min(time.Second<<min(failures-1, 5), 30*time.Second)
			phase := grant.Waiting
			if impossible(err) {
				phase, pause = grant.Refused, 30*time.Second
			}
			s.say(phase, fmt.Sprintf("%v; next try in %v", err, pause))
			if err := s.pause(ctx, wake, pause, todo.facts.Grant); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-wake:
		case <-time.After(look):
		}
	}
}

// do does what the plan says.
func (s *seeder) do(ctx context.Context, t task) error {
	s.Log.Info("plan", "do", string(t.plan.Do), "reason", t.plan.Reason, "resume", t.plan.Resume)
	if t.plan.Do == plan.Rewind {
		return s.rewind(ctx, t)
	}
	return s.fill(ctx, t)
}

// pause waits between two tries, and no longer than the grant stays what it was.
func (s *seeder) pause(ctx context.Context, wake <-chan struct{}, d time.Duration, was *grant.Grant) error {
	end := time.After(d)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return nil
		case <-wake:
			if now, err := readGrant(s.Pod.Control); err == nil && !sameOrder(was, now) {
				return nil
			}
		}
	}
}
