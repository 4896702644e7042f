// Package rewind brings a data directory that has diverged back to the past of its leader: it gets the directory to a clean shutdown, checks
// the leader, keeps what is given up, and runs pg_rewind. Its caller keeps the journal (SAFETY D22, D35).
package rewind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

// Options say what is rewound by whom.
type Options struct {
	Tools pgtools.Tools
	Data  string // the data directory; no server runs on it
	From  grant.Upstream
	Keys  string // directory with the certificates to log in with
	Name  string // application_name
	// Private is a directory of ours alone, in memory, for the configuration and socket of a server that nobody else is to meet.
	Private string
	// Stall is how long nothing may be said before pg_rewind is given up.
	Stall time.Duration
	// Lock is inherited, so that the volume is not free while a program still writes to it.
	Lock *os.File
	// Progress is called when pg_rewind says how far it is.
	Progress func(grant.Progress)
	Log      *slog.Logger
}

// Name is the application_name of a member's rewind.
func Name(member string) string { return member + "_rewind" }

// ImpossibleError says that pg_rewind cannot do it, however often it is asked. It has changed nothing.
type ImpossibleError struct{ Said string }

func (e *ImpossibleError) Error() string {
	return "pg_rewind cannot bring this member back (" + e.Said + "): to have it cloned anew, delete its PersistentVolumeClaim and then its pod"
}

// impossible are pg_rewind's words for what does not pass by itself.
var impossible = []string{
	"could not find previous WAL record", // of the last checkpoint that both have: the WAL is gone
	"could not find common ancestor",
	"are from different systems",
	"no rewind required", // whoever asked knows better, so it does not see the fork
	"needs to use either data checksums or",
	"requested WAL segment",
	"could not open file \"", // a segment that is gone
	"could not restore file",
}

// ErrStalled is the cause when nothing was said for too long.
var ErrStalled = errors.New("nothing has happened for too long")

// errEnough ends a dry run where it knows what is to be copied: it would read all of it from the leader and throw it away.
var errEnough = errors.New("enough is known")

// Try does all that Run does, but for the writing. It finds out what cannot work while the directory is still what it was.
func Try(ctx context.Context, o Options) error {
	said, err := run(ctx, o, "--dry-run")
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err == nil && !strings.Contains(said, "no rewind required"):
		return nil
	}
	for _, words := range impossible {
		if strings.Contains(said, words) {
			return &ImpossibleError{Said: said}
		}
	}
	return err
}

// Run rewinds, and returns when everything is on disk. After an error the directory may be anything.
func Run(ctx context.Context, o Options) error {
	_, err := run(ctx, o)
	return err
}

func run(ctx context.Context, o Options, more ...string) (string, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	cmd := o.Tools.Command(ctx, pgtools.Rewind, append([]string{
		"--target-pgdata=" + o.Data,
		"--source-server=" + pgconf.RewindConninfo(o.From, o.Keys, o.Name),
		"--no-ensure-shutdown", // done by us, with a configuration of ours
		"--progress",
	}, more...)...)
	pgtools.Bind(cmd, o.Lock)
	stalled := time.AfterFunc(o.Stall, func() { giveUp(fmt.Errorf("%w (%v)", ErrStalled, o.Stall)) })
	defer stalled.Stop()
	began := time.Now()
	out := &pgtools.Lines{Dull: progressLine.MatchString, Each: func(line string) {
		stalled.Reset(o.Stall)
		o.Log.Debug("pg_rewind", "line", line)
		if len(more) > 0 && strings.Contains(line, "need to copy") {
			giveUp(errEnough)
		}
		if p, ok := progress(line, time.Since(began)); ok && len(more) == 0 {
			o.Progress(p)
		}
	}}
	cmd.Stdout, cmd.Stderr = out, out
	err := pgtools.Run(cmd)
	said := out.Said(pgtools.Rewind)
	switch cause := context.Cause(ctx); {
	case err == nil:
		return said, nil
	case cause != nil:
		return said, fmt.Errorf("rewind to %s: %w", o.From.Name, cause)
	default:
		return said, fmt.Errorf("rewind to %s: %w: %s", o.From.Name, err, said)
	}
}

var progressLine = regexp.MustCompile(`^([0-9]+)/([0-9]+) kB \([0-9]+%\) copied`)

// progress reads one line of pg_rewind --progress.
func progress(line string, since time.Duration) (grant.Progress, bool) {
	parts := progressLine.FindStringSubmatch(line)
	if parts == nil {
		return grant.Progress{}, false
	}
	done, _ := strconv.ParseInt(parts[1], 10, 54) // 54 bits of kB are still an int64 of bytes
	total, _ := strconv.ParseInt(parts[2], 10, 54)
	p := grant.Progress{Step: "rewind", Bytes: done << 10, Total: total << 10, TotalKnown: true}
	if s := since.Seconds(); s > 0 {
		p.PerSecond = float64(p.Bytes) / s
	}
	if p.PerSecond > 0 {
		p.SecondsETA = float64(p.Total-p.Bytes) / p.PerSecond
	}
	return p, true
}
