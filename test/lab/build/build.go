package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/command"
)

// Binaries finds the lab's programs.
type Binaries struct {
	// Dir holds a link to each program.
	Dir string
}

// Path is where a program is.
func (b Binaries) Path(program string) string { return filepath.Join(b.Dir, program) }

// Versions names what clusters are made of. The pods' own programs, the last part of the folder's name, are left out:
// their images can be pushed to a lab that runs.
func (b Binaries) Versions() string {
	name := filepath.Base(b.Dir)
	return name[:max(strings.LastIndex(name, "-"), 0)]
}

// CacheDir is where built programs are kept for all clones of this user.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	return filepath.Join(base, "pgspan", "lab"), nil
}

// Progress is told what happens, one line each.
type Progress func(format string, args ...any)

// All builds whatever is not in the cache yet.
func All(ctx context.Context, progress Progress) (Binaries, error) {
	source, err := Source()
	if err != nil {
		return Binaries{}, err
	}
	cache, err := CacheDir()
	if err != nil {
		return Binaries{}, err
	}
	toolchain, err := toolchainVersion(ctx, source)
	if err != nil {
		return Binaries{}, err
	}
	var keys []string
	parts := map[string]component{}
	for _, c := range components() {
		key, err := c.key(source, toolchain)
		if err != nil {
			return Binaries{}, err
		}
		keys, parts[key] = append(keys, key), c
		if err := one(ctx, source, filepath.Join(cache, "bin", key), c, progress); err != nil {
			return Binaries{}, fmt.Errorf("build %s: %w", c.name, err)
		}
	}
	return link(cache, keys, parts)
}

// one builds a component unless its folder is there. The folder gets its name last, so that a build that was
// interrupted is never taken for a finished one.
func one(ctx context.Context, source, target string, c component, progress Progress) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	began := time.Now()
	progress("building %s", c.name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(target), "unfinished-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(unfinished) }()
	args := append([]string{"go", "build"}, c.flags...)
	args = append(args, "-o", unfinished+"/")
	cmd := exec.CommandContext(ctx, "nice", append(args, c.packages...)...)
	cmd.Dir = filepath.Join(source, c.dir)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Env = append(cmd.Env, "GOFLAGS=-buildvcs=false", "GOWORK=off")
	var complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, tail(complaint.String(), 2000))
	}
	for from, to := range c.rename {
		if err := os.Rename(filepath.Join(unfinished, from), filepath.Join(unfinished, to)); err != nil {
			return err
		}
	}
	if err := os.Chmod(unfinished, 0o755); err != nil {
		return err
	}
	if err := os.Rename(unfinished, target); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	progress("built %s in %s", c.name, time.Since(began).Round(time.Second))
	return nil
}

// link gathers the programs of all components in one folder that is named for what is in it.
func link(cache string, keys []string, parts map[string]component) (Binaries, error) {
	dir := filepath.Join(cache, "set", strings.Join(shorten(keys), "-"))
	if _, err := os.Stat(dir); err == nil {
		return Binaries{Dir: dir}, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Binaries{}, fmt.Errorf("gather programs: %w", err)
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(dir), "unfinished-")
	if err != nil {
		return Binaries{}, fmt.Errorf("gather programs: %w", err)
	}
	defer func() { _ = os.RemoveAll(unfinished) }()
	for key, c := range parts {
		for _, program := range c.programs() {
			if err := os.Symlink(filepath.Join(cache, "bin", key, program), filepath.Join(unfinished, program)); err != nil {
				return Binaries{}, fmt.Errorf("gather programs: %w", err)
			}
		}
	}
	if err := os.Chmod(unfinished, 0o755); err != nil {
		return Binaries{}, fmt.Errorf("gather programs: %w", err)
	}
	if err := os.Rename(unfinished, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return Binaries{}, fmt.Errorf("gather programs: %w", err)
	}
	return Binaries{Dir: dir}, nil
}

func shorten(keys []string) []string {
	short := make([]string, len(keys))
	for i, k := range keys {
		short[i] = k[:6]
	}
	return short
}

func toolchainVersion(ctx context.Context, dir string) (string, error) {
	out, err := command.Run(ctx, "go", "-C", dir, "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return "", fmt.Errorf("ask the Go toolchain: %w", err)
	}
	return strings.Join(strings.Fields(out), " "), nil
}

func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	return "… " + s[len(s)-n:]
}
