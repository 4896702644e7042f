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
	"runtime"
	"strconv"
	"strings"
	"syscall"
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
	out := &lines{each: func(line string) { m.line(line); o.Log.Debug("pg_basebackup", "line", line) }}
	cmd.Stdout, cmd.Stderr = out, out
	watched, end := context.WithCancel(ctx)
	defer end()
	go m.watch(watched, o.Stall)
	err := run(cmd)
	switch cause := context.Cause(ctx); {
	case err == nil:
		m.finish()
		return nil
	case cause != nil:
		return fmt.Errorf("base backup from %s: %w", o.From.Name, cause)
	default:
		return fmt.Errorf("base backup from %s: %w: %s", o.From.Name, err, out.said())
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
	// It forks a process for the WAL. Both are killed, and both die with us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if o.Lock != nil {
		cmd.ExtraFiles = []*os.File{o.Lock}
	}
	return cmd
}

// run keeps its thread for itself, because the kernel sends the death signal when the thread that forked ends.
func run(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	return <-done
}

// lines hands each line of output to each, and remembers the last ones that were no progress, for an error.
type lines struct {
	each func(string)
	rest string
	last []string
}

const remembered = 5

// Write is called by one goroutine of exec.Cmd, since both outputs are the same writer.
func (l *lines) Write(b []byte) (int, error) {
	l.rest += string(b)
	for {
		i := strings.IndexAny(l.rest, "\r\n")
		if i < 0 {
			return len(b), nil
		}
		line := strings.TrimSpace(l.rest[:i])
		l.rest = l.rest[i+1:]
		if line == "" {
			continue
		}
		l.each(line)
		if !progressLine.MatchString(line) {
			l.last = append(l.last, line)
			l.last = l.last[max(0, len(l.last)-remembered):]
		}
	}
}

// said is what the program said about its failure.
func (l *lines) said() string {
	var complaints []string
	for _, line := range append(l.last, strings.TrimSpace(l.rest)) {
		if line != "" {
			complaints = append(complaints, strings.TrimPrefix(line, "pg_basebackup: "))
		}
	}
	return strings.Join(complaints, "; ")
}

// ErrStalled is the cause when nothing has arrived for too long.
var ErrStalled = errors.New("nothing has arrived for too long")
