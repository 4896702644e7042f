// Package pgtools finds the server's programs in whatever image the pod runs: Debian keeps them in /usr/lib/postgresql/N/bin, the
// PGDG packages for Red Hat in /usr/pgsql-N/bin, the official Alpine image in /usr/local/bin. No image needs a shell for it.
package pgtools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/agents/internal/notes"
)

// Programs that are looked for. Postgres, Controldata and Basebackup come with every image we know; the rest may be missing, and
// what needs them degrades by rule (SAFETY D49).
const (
	Postgres    = "postgres"
	Initdb      = "initdb"
	Basebackup  = "pg_basebackup"
	Controldata = "pg_controldata"
	Rewind      = "pg_rewind"
	Waldump     = "pg_waldump"
	Checksums   = "pg_checksums"
	Isready     = "pg_isready"
	Psql        = "psql"
)

var programs = []string{Postgres, Initdb, Basebackup, Controldata, Rewind, Waldump, Checksums, Isready, Psql}

// needed are the programs without which nothing can be done at all.
var needed = []string{Postgres, Controldata}

// globs are where packages are known to put the programs, besides PATH and pg_config.
var globs = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // PGDG for Red Hat, SUSE
	"/usr/lib/postgresql*/bin",  // SUSE
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/local/pgsql/bin",      // make install
	"/opt/*/postgresql/bin",     // vendors
	"/usr/local/bin",            // official Alpine image
	"/usr/bin",
}

// Tools is what was found. All programs come from one directory, so that no two versions are mixed.
type Tools struct {
	Dir       string
	Major     int
	Version   string            // "17.6 (Debian 17.6-1)"
	Path      map[string]string // by program name; a missing program has no entry
	Libraries notes.Libraries
}

// NotFoundError says that the image has no usable server, and where it was looked for.
type NotFoundError struct {
	Wanted int // major version, 0 for any
	Looked []string
	Found  []string // what was there and did not fit
}

func (e *NotFoundError) Error() string {
	s := "no PostgreSQL server in this image"
	if e.Wanted != 0 {
		s = fmt.Sprintf("no PostgreSQL %d server in this image", e.Wanted)
	}
	if len(e.Found) > 0 {
		s += " (found " + strings.Join(e.Found, ", ") + ")"
	}
	return s + ": looked for postgres and pg_controldata in " + strings.Join(e.Looked, ", ")
}

// Find looks for the programs of major version want (0: the newest). binDir, if set, is the only place looked at. A *NotFoundError is
// a finding about the image; any other error means that it could not be found out.
func Find(ctx context.Context, binDir string, want int) (Tools, error) {
	dirs := candidates(ctx)
	if binDir != "" {
		dirs = []string{binDir}
	}
	missing := &NotFoundError{Wanted: want, Looked: dirs}
	var best Tools
	var broken error
	for _, dir := range dirs {
		t, ok, err := look(ctx, dir)
		if err != nil {
			// Another place may have one that works.
			broken = errors.Join(broken, fmt.Errorf("find PostgreSQL in %s: %w", dir, err))
			continue
		}
		if !ok {
			continue
		}
		if want != 0 && t.Major != want {
			missing.Found = append(missing.Found, fmt.Sprintf("%d in %s", t.Major, dir))
			continue
		}
		if t.Major > best.Major {
			best = t
		}
	}
	if best.Dir == "" && broken != nil {
		return Tools{}, broken
	}
	if best.Dir == "" {
		return Tools{}, missing
	}
	best.Libraries = libraries(ctx, best.Path[Postgres])
	return best, nil
}

// candidates are the directories to look in, in order of preference, each once.
func candidates(ctx context.Context) []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	if path, err := exec.LookPath("pg_config"); err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if out, err := command(ctx, path, "--bindir").Output(); err == nil {
			dirs = append(dirs, strings.TrimSpace(string(out)))
		}
	}
	for _, g := range globs {
		found, err := filepath.Glob(g)
		if err != nil {
			panic(err) // the patterns are constants
		}
		dirs = append(dirs, found...)
	}
	var once []string
	for _, d := range dirs {
		if filepath.IsAbs(d) && !slices.Contains(once, filepath.Clean(d)) {
			once = append(once, filepath.Clean(d))
		}
	}
	return once
}

var version = regexp.MustCompile(`^postgres \(PostgreSQL\) (([0-9]+)\S*.*)$`)

// look reports what lies in dir; ok is false when there is no server.
func look(ctx context.Context, dir string) (t Tools, ok bool, err error) {
	// A program in PATH may be a link, or a wrapper of Debian's for several versions; the real one has its siblings beside it.
	t = Tools{Dir: dir, Path: map[string]string{}}
	if real, err := filepath.EvalSymlinks(filepath.Join(dir, Postgres)); err == nil && filepath.Base(real) == Postgres {
		t.Dir = filepath.Dir(real)
	}
	for _, name := range programs {
		path := filepath.Join(t.Dir, name)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return Tools{}, false, err
		}
		if info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			t.Path[name] = path
		}
	}
	for _, name := range needed {
		if !t.Has(name) {
			return Tools{}, false, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := t.Command(ctx, Postgres, "--version").Output()
	if err != nil {
		return Tools{}, false, fmt.Errorf("ask for the version: %w", err)
	}
	parts := version.FindStringSubmatch(strings.TrimSpace(string(out)))
	if parts == nil {
		return Tools{}, false, fmt.Errorf("ask for the version: got %q", strings.TrimSpace(string(out)))
	}
	t.Version = parts[1]
	t.Major, err = strconv.Atoi(parts[2])
	return t, err == nil, err
}

// Has reports whether the program was found.
func (t Tools) Has(name string) bool { return t.Path[name] != "" }

// Missing names the programs that were not found, sorted.
func (t Tools) Missing() []string {
	var missing []string
	for _, name := range programs {
		if !t.Has(name) {
			missing = append(missing, name)
		}
	}
	slices.SortFunc(missing, cmp.Compare[string])
	return missing
}

// Command prepares a run of a program that was found, with messages in English so that they can be read by us, and without what libpq
// takes from the environment.
func (t Tools) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return command(ctx, t.Path[name], args...)
}

func command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(environ(), "LC_ALL=C", "PGAPPNAME=pgspan")
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// environ drops what would change what the programs do behind our back: every PG… variable of libpq and locale settings.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		ours := strings.HasPrefix(name, "PGSPAN_")
		return !ours && strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "LC_") || name == "LANG" || name == "LANGUAGE"
	})
}
