package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// built remembers what this process has linked already. Linking takes a second and a test binary may ask often.
var built struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

// Build compiles one of our programs as the images carry it, static and without cgo, and returns its path outside.
// The package is named from the module's root: "./agents/seed". It is built once per test binary.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	path, err := build(t.Context(), pkg)
	if err != nil {
		t.Fatalf("build %s: %v", pkg, err)
	}
	return path
}

func build(ctx context.Context, pkg string) (string, error) {
	built.Lock()
	defer built.Unlock()
	if path, ok := built.paths[pkg]; ok {
		return path, nil
	}
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	if built.dir == "" {
		// Not t.TempDir: the file is shared by all tests of this process. One directory per test binary's package in the
		// user's cache, so that a killed run leaves no more than the next one overwrites.
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache: %w", err)
		}
		built.dir = filepath.Join(cache, "pgspan", "pgtest", filepath.Base(os.Args[0]))
		built.paths = map[string]string{}
	}
	path := filepath.Join(built.dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, pkg)
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(gomod)))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	built.paths[pkg] = path
	return path, nil
}
