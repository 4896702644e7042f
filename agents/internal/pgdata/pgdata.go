// Package pgdata looks at a data directory while no server runs on it, and makes the few changes to it that are not the server's own:
// the mode, standby.signal, reserved timelines. What it finds are facts; package plan judges them.
package pgdata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

// Facts are what lies in a data directory.
type Facts struct {
	// Exists: the directory is there. Empty: it is not there, or has nothing in it.
	Exists bool
	Empty  bool
	Mode   fs.FileMode // permission bits only
	UID    int
	// Major is PG_VERSION; 0 when the file is missing or makes no sense, and Version then says what was found.
	Major   int
	Version string
	// Control is nil when pg_controldata could not read the control file; ControlProblem says why.
	Control        *Control
	ControlProblem string
	// Outside are tablespaces, and pg_wal, that do not lie in the data directory.
	Outside       []Tablespace
	StandbySignal bool
	BackupLabel   bool
	// HighestHistory is the number of the newest timeline of which a history file with content lies in pg_wal; 0 for none. An empty
	// file is a reservation and no timeline.
	HighestHistory uint32
}

// Tablespace is a link to another place.
type Tablespace struct {
	Name   string // "pg_wal", or the tablespace's OID
	Target string
}

// Inspect looks at dir. An error means that it could not be found out; everything that is wrong with the directory is a fact.
func Inspect(ctx context.Context, tools pgtools.Tools, dir string) (Facts, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Facts{Empty: true}, nil
	}
	if err != nil {
		return Facts{}, fmt.Errorf("inspect data directory: %w", err)
	}
	if !info.IsDir() {
		return Facts{}, fmt.Errorf("inspect data directory: %s is a file", dir)
	}
	f := Facts{Exists: true, Mode: info.Mode().Perm(), UID: owner(info)}
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) {
		// It is somebody else's. That is all there is to know, and it is enough to judge by.
		f.ControlProblem = err.Error()
		return f, nil
	}
	if err != nil {
		return Facts{}, fmt.Errorf("inspect data directory: %w", err)
	}
	if len(names) == 0 {
		f.Empty = true
		return f, nil
	}
	if err := f.inside(ctx, tools, dir); err != nil {
		return Facts{}, fmt.Errorf("inspect data directory: %w", err)
	}
	return f, nil
}

func (f *Facts) inside(ctx context.Context, tools pgtools.Tools, dir string) error {
	var err error
	if f.Major, f.Version, err = major(dir); err != nil {
		return err
	}
	if f.StandbySignal, err = exists(filepath.Join(dir, standbySignal)); err != nil {
		return err
	}
	if f.BackupLabel, err = exists(filepath.Join(dir, "backup_label")); err != nil {
		return err
	}
	if f.Outside, err = outside(dir); err != nil {
		return err
	}
	if f.HighestHistory, err = HighestHistory(dir); err != nil {
		return err
	}
	// A control file of another major version has another layout, and pg_controldata would only say that it is damaged.
	if f.Major != tools.Major {
		f.ControlProblem = "not read: it belongs to another major version"
		return nil
	}
	control, err := ReadControl(ctx, tools, dir)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		f.ControlProblem = err.Error()
	default:
		f.Control = &control
	}
	return nil
}

func major(dir string) (int, string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	text := strings.TrimSpace(string(b))
	n, err := strconv.Atoi(text)
	if err != nil || n < 10 {
		return 0, text, nil // "9.6", or not a version at all
	}
	return n, text, nil
}

// outside lists links out of the data directory. In-place tablespaces are directories and fine.
func outside(dir string) ([]Tablespace, error) {
	links := map[string]string{"pg_wal": filepath.Join(dir, "pg_wal")}
	entries, err := os.ReadDir(filepath.Join(dir, "pg_tblspc"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		links[e.Name()] = filepath.Join(dir, "pg_tblspc", e.Name())
	}
	var found []Tablespace
	for name, path := range links {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		// pgdata is cloned, renamed and rewound as one directory: what is not below it is outside, also on the same volume.
		if rel, err := filepath.Rel(dir, target); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			found = append(found, Tablespace{Name: name, Target: target})
		}
	}
	slices.SortFunc(found, func(a, b Tablespace) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// HighestHistory is the newest timeline of which pg_wal has a history file with content; 0 for none.
func HighestHistory(dir string) (uint32, error) {
	files, err := histories(dir)
	return newestReal(files), err
}

type history struct {
	path string
	line uint32
	size int64
}

// histories lists the history files in pg_wal. A directory without pg_wal has none.
func histories(dir string) ([]history, error) {
	wal := filepath.Join(dir, "pg_wal")
	entries, err := os.ReadDir(wal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []history
	for _, entry := range entries {
		hex, ok := strings.CutSuffix(entry.Name(), ".history")
		if !ok || len(hex) != 8 {
			continue
		}
		line, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			continue // not the server's
		}
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		found = append(found, history{path: filepath.Join(wal, entry.Name()), line: uint32(line), size: info.Size()})
	}
	return found, nil
}

func newestReal(files []history) uint32 {
	var newest uint32
	for _, f := range files {
		if f.size > 0 {
			newest = max(newest, f.line)
		}
	}
	return newest
}

func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
