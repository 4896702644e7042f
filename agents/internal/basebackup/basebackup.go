// Package basebackup fills an empty directory from another member by pg_basebackup, and tells how far it is.
//
// A clone logs in under a name of its own. With the member's name and slot, an unfinished clone counts as a synchronous standby and
// lets commits through that it does not hold (SAFETY D7).
package basebackup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

// Options say what to copy where.
type Options struct {
	Tools  pgtools.Tools
	Target string // made by pg_basebackup; must not be there
	From   grant.Upstream
	Keys   string // directory with the certificates to log in with
	// Name is the application_name; see Name.
	Name    string
	MaxRate int64 // bytes per second; 0 means no limit
	// Stall is how long nothing may arrive before the copy is given up.
	Stall time.Duration
	// Lock is inherited, so that the volume is not free while a copy still writes to it.
	Lock *os.File
	// Progress is called about once a second.
	Progress func(grant.Progress)
	Log      *slog.Logger
}

// Name is the application_name of a member's clone.
func Name(member string) string { return member + "_clone" }

// Run copies and returns when everything is on disk. After an error the target may hold anything.
func Run(ctx context.Context, o Options) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	cmd := command(ctx, o)
	m := newMeter(o.Target, o.Progress, giveUp)
	out := &pgtools.Lines{
		Each: func(line string) { m.line(line); o.Log.Debug("pg_basebackup", "line", line) },
		Dull: progressLine.MatchString,
	}
	cmd.Stdout, cmd.Stderr = out, out
	watched, end := context.WithCancel(ctx)
	defer end()
	go m.watch(watched, o.Stall)
	err := pgtools.Run(cmd)
	switch cause := context.Cause(ctx); {
	case err == nil:
		m.finish()
		return nil
	case cause != nil:
		return fmt.Errorf("base backup from %s: %w", o.From.Name, cause)
	default:
		return fmt.Errorf("base backup from %s: %w: %s", o.From.Name, err, out.Said(pgtools.Basebackup))
	}
}

func command(ctx context.Context, o Options) *exec.Cmd {
	args := []string{
		"--dbname=" + pgconf.Conninfo(o.From, o.Keys, o.Name),
		"--pgdata=" + o.Target,
		"--no-password",
		"--wal-method=stream", // with a temporary slot of its own, so that no WAL it needs is removed
		"--checkpoint=fast",
		"--progress",
		"--verbose",
	}
	if o.MaxRate > 0 {
		args = append(args, "--max-rate="+strconv.FormatInt(max(o.MaxRate>>10, 32), 10)+"k")
	}
	cmd := o.Tools.Command(ctx, pgtools.Basebackup, args...)
	pgtools.Bind(cmd, o.Lock) // it forks a process for the WAL; both are killed, and both die with us
	return cmd
}

// ErrStalled is the cause when nothing has arrived for too long.
var ErrStalled = errors.New("nothing has arrived for too long")
