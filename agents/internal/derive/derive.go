// Package derive makes everything that a server reads and that is not data: keys from the mounted Secret, configuration from the chart's
// settings and the grant. seed does it before the first start, guard before every start and whenever a source changes; equal sources
// give equal files, and files that are equal are not touched.
package derive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/keys"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/podenv"
	"github.com/pgspan/pgspan/agents/internal/settings"
	"github.com/pgspan/pgspan/tls/keypair"
)

// Input is what is known besides the pod's own environment.
type Input struct {
	Settings settings.Settings
	Tools    pgtools.Tools
	// Control is the data directory's control file; nil while there is none.
	Control *pgdata.Control
	// Writable: the server is, or will be started, without standby.signal. A standby's limits must not be below its primary's, which
	// its control file knows; a primary's are its own to change.
	Writable bool
	// Grant is nil while there is none: a server that streams from nobody.
	Grant *grant.Grant
}

// Result says what was done.
type Result struct {
	// Changed are the names of the configuration files that were written.
	Changed []string
	// KeysChanged: other keys are in place than before. The server reads them at a reload.
	KeysChanged bool
	// Keys are the certificates in place.
	Keys keys.Result
	// CommandLine are the arguments of postgres. Another command line takes effect at the next start.
	CommandLine []string
	// Notes are sentences about values that were adapted.
	Notes []string
	// Raised are settings that are higher than asked for, because the control file says that a standby needs as much.
	Raised []string
}

// RefusedError says what is wrong with the chart's settings, in words for who wrote them. Keys that are wrong come as keypair.Problem;
// every other error means that it could not be found out.
type RefusedError struct{ Problems []string }

func (e *RefusedError) Error() string { return strings.Join(e.Problems, "; ") }

// All places the keys and writes the configuration. A Secret that is wrong (*keypair.Problem) does not stop a server that was started with
// a good one, nor keep it from following another leader: the keys in place stay, and the rest is done. If that changed nothing, the
// problem comes back as the error, together with the whole Result; if files did change, the server must be told of those, and the problem
// is one of the Notes, until the next call. After any other error the server is not to be told to reload.
func All(ctx context.Context, pod podenv.Pod, in Input) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	size, err := volumeSize(pod.Volume)
	if err != nil {
		return Result{}, fmt.Errorf("derive configuration: %w", err)
	}
	// Settings are judged before keys are touched, so that a wrong one changes nothing at all.
	var notes, problems []string
	if in.Settings, notes, problems = pod.PostDock.Overlay(in.Settings); len(problems) > 0 {
		return Result{}, &RefusedError{Problems: problems}
	}
	out, problems := pgconf.Render(input(pod, in, size))
	if len(problems) > 0 {
		return Result{}, &RefusedError{Problems: problems}
	}
	r := Result{CommandLine: out.CommandLine, Notes: append(notes, out.Notes...), Raised: out.Raised}
	wrong := r.place(pod, time.Now())
	if wrong != nil && len(r.Keys.Certificates) == 0 {
		return Result{}, wrong
	}
	if err := os.MkdirAll(pod.Conf, 0o700); err != nil {
		return Result{}, fmt.Errorf("derive configuration: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(out.Files)) {
		changed, err := write(filepath.Join(pod.Conf, name), out.Files[name])
		if err != nil {
			return Result{}, fmt.Errorf("derive configuration: %w", err)
		}
		if changed {
			r.Changed = append(r.Changed, name)
		}
	}
	if wrong != nil {
		r.Notes = append(r.Notes, "keys of before stay in place, because those of the Secret are wrong: "+wrong.Error())
		if len(r.Changed) == 0 {
			return r, wrong
		}
	}
	return r, nil
}

// place puts keys in place. If those of the Secret are wrong, the Result has the certificates that are in place, if they are good.
func (r *Result) place(pod podenv.Pod, now time.Time) error {
	placed, err := keys.Place(pod.TLS, pod.Keys, keys.Database(), now)
	if err == nil {
		r.Keys, r.KeysChanged = placed, placed.Changed
		return nil
	}
	var wrong *keypair.Problem
	if !errors.As(err, &wrong) {
		return fmt.Errorf("derive keys: %w", err)
	}
	if old, missing := keys.Read(pod.Keys, keys.Database(), now); missing == nil {
		r.Keys = keys.Result{Certificates: old.Certificates()}
	}
	return err // in the words of who found it
}

func input(pod podenv.Pod, in Input, size int64) pgconf.Input {
	c := pgconf.Input{
		Major: in.Tools.Major, Settings: in.Settings,
		Data: pod.Paths().Data(), Conf: pod.Conf, Keys: pod.Keys, Socket: pod.Socket, Bin: pod.Bin,
		MemoryLimit: int64(pod.MemoryLimit), VolumeSize: size,
	}
	if in.Control != nil {
		c.WALSegment = in.Control.WALSegment
		if !in.Writable {
			c.Floor = in.Control.Limits
		}
	}
	if g := in.Grant; g != nil {
		c.Sync = g.Sync
		if g.Role == grant.Replica {
			c.From, c.Slot, c.SyncName, c.Vote = g.Upstream, g.Slot, g.SyncName, g.Vote
		}
	}
	return c
}

// write replaces a file if its content is another one, and says whether it did.
func write(path string, content []byte) (bool, error) {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, content) {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, durable.WriteFile(path, content, 0o600)
}

// volumeSize is the size of the whole file system, free or not: what it holds changes, and limits must not wander with that.
func volumeSize(root string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return 0, fmt.Errorf("size of %s: %w", root, err)
	}
	return int64(fs.Blocks) * fs.Bsize, nil
}
