// Package source knows the source tree: where it is, which commit it is at, and how its programs are built.
package source

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Tree is a checkout of pgspan.
type Tree struct {
	Dir string
	// Version names what is built: a tag, or the commit when there is no tag at it.
	Version string
	// Revision is the commit, empty outside git.
	Revision string
	// Time is the commit's time, and the time everything reproducible is given.
	Time time.Time
}

// Open finds the top of the source tree from the working directory upwards. version overrides what git says.
func Open(ctx context.Context, version string) (Tree, error) {
	dir, err := top()
	if err != nil {
		return Tree{}, err
	}
	tree := Tree{Dir: dir, Version: "0.1.0-dev", Time: time.Unix(0, 0).UTC()}
	if revision, err := git(ctx, dir, "rev-parse", "HEAD"); err == nil {
		tree.Revision = revision
		described, err := git(ctx, dir, "describe", "--tags", "--always", "--dirty")
		if err != nil {
			return Tree{}, err
		}
		tree.Version = strings.TrimPrefix(described, "v") // as the chart writes it
		stamp, err := git(ctx, dir, "log", "-1", "--format=%ct")
		if err != nil {
			return Tree{}, err
		}
		if tree.Time, err = unix(stamp); err != nil {
			return Tree{}, err
		}
	}
	if stamp := os.Getenv("SOURCE_DATE_EPOCH"); stamp != "" {
		if tree.Time, err = unix(stamp); err != nil {
			return Tree{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
	}
	if version != "" {
		tree.Version = version
	}
	return tree, nil
}

// top is the directory that holds both the product's module and the images.
func top() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(gomod), "module github.com/pgspan/pgspan\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside pgspan's source tree", start)
		}
	}
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

func unix(stamp string) (time.Time, error) {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read a time in seconds: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
