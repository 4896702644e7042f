package pgpool

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/agents/internal/reaper"
)

// Runner keeps one pgpool running with files made from the chart's values and the users' Secrets.
type Runner struct {
	Program string
	Config  Config
	Places  Places
	Users   string // see Passwd
	// PlaceKeys checks the mounted keys, puts them into Places.Keys and reports whether they changed.
	PlaceKeys func() (changed bool, err error)
	// Patience is how long the primary must be away before pgpool is restarted on the replicas alone.
	Patience time.Duration
	// Look is how often the primary's Service and the mounted files are looked at.
	Look time.Duration
	// StopWithin bounds pgpool's own shutdown.
	StopWithin time.Duration
	// Reaper starts pgpool and collects the orphans that a container's PID 1 inherits.
	Reaper *reaper.Reaper
	Log    *slog.Logger
}

// Run runs pgpool until ctx ends (nil) or pgpool ends by itself (its error): the container's restart is then Kubernetes' work, with
// its back-off.
func (r *Runner) Run(ctx context.Context) error {
	mode := Split
	if _, err := r.PlaceKeys(); err != nil {
		return err
	}
	if _, err := r.write(mode); err != nil {
		return err
	}
	pool, err := start(r.Reaper, r.Program, r.Places)
	if err != nil {
		return err
	}
	r.Log.Info("pgpool started", "mode", mode, "children", r.Config.Children)

	sights := make(chan Sight, 1)
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	go watchPrimary(watch, r.Config.Primary, r.Look, func(s Sight) {
		select {
		case sights <- s:
		case <-watch.Done():
		}
	})
	for {
		select {
		case <-ctx.Done():
			pool.stop(context.WithoutCancel(ctx), r.StopWithin)
			r.Log.Info("pgpool stopped")
			return nil
		case <-pool.Done():
			return pool.ended()
		case s := <-sights:
			next, why := NextMode(mode, r.Config, s, r.Patience)
			if next == mode {
				r.refresh(pool, mode)
				continue
			}
			r.Log.Warn("pgpool changes its backends", "from", mode, "to", next, "reason", why)
			if _, err := r.write(next); err != nil {
				return err
			}
			pool.stop(ctx, r.StopWithin)
			if pool, err = start(r.Reaper, r.Program, r.Places); err != nil {
				return err
			}
			mode = next
		}
	}
}

// refresh makes the files again and reloads pgpool when a Secret or key changed. A Secret that is wrong is reported and changes
// nothing: pgpool goes on with what it has.
func (r *Runner) refresh(pool child, mode Mode) {
	keys, err := r.PlaceKeys()
	if err != nil {
		r.Log.Error("new keys are not used", "error", err)
	}
	files, err := r.write(mode)
	if err != nil {
		r.Log.Error("new passwords are not used", "error", err)
	}
	if !keys && !files {
		return
	}
	if err := pool.reload(); err != nil {
		r.Log.Error("pgpool did not reload", "error", err)
		return
	}
	r.Log.Info("pgpool reloaded", "keys", keys, "files", files)
}

// write makes pgpool's three files and reports whether one of them changed.
func (r *Runner) write(mode Mode) (changed bool, err error) {
	passwd, err := Passwd(r.Users)
	if err != nil {
		return false, fmt.Errorf("make pool_passwd: %w", err)
	}
	for name, text := range map[string]string{
		"pgpool.conf": Render(r.Config, mode, r.Places), "pool_hba.conf": HBA(), "pool_passwd": passwd,
	} {
		c, err := replace(filepath.Join(r.Places.Conf, name), []byte(text))
		if err != nil {
			return changed, fmt.Errorf("write %s: %w", name, err)
		}
		changed = changed || c
	}
	return changed, nil
}

// replace writes a file, 0600 from birth, by a rename, when its content differs.
func replace(path string, text []byte) (changed bool, err error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return false, nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(text); err != nil {
		f.Close()
		return false, err
	}
	if err := f.Close(); err != nil {
		return false, err
	}
	return true, os.Rename(f.Name(), path)
}
