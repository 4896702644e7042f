// Package previous finds the chart that an upgrade starts from: that of the newest tag, or, as long as there is none, that of some
// changes ago.
package previous

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// chartPath is the chart inside the repository.
const chartPath = "charts/pgspan"

// changesBack is how many changes of the chart an untagged history is gone back.
const changesBack = 5

// Chart is an older chart.
type Chart struct {
	Rev string // tag or commit; empty: there is no history, and the chart is the working tree's own
	Tag bool   // Rev is a tag, so that images of that name may exist
	Why string // for the log of the test
}

// Find says which chart an upgrade to the working tree starts from. A repository without history, such as an unpacked archive or a
// clone of depth one, has only the present chart: the upgrade is then one of values.
func Find(ctx context.Context, repository string) (Chart, error) {
	if _, err := git(ctx, repository, "rev-parse", "--verify", "HEAD"); err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return choose(nil, nil), nil
		}
		return Chart{}, err
	}
	// A tag on this very commit is not older.
	tags, err := git(ctx, repository, "tag", "--list", "v*", "--merged", "HEAD", "--no-contains", "HEAD", "--sort=-version:refname")
	if err != nil {
		return Chart{}, err
	}
	// The first line of parents is what was released from; the change that HEAD itself is, or carries, comes first.
	changes, err := git(ctx, repository, "log", "--first-parent", "--format=%H", fmt.Sprintf("--max-count=%d", changesBack+1), "--", chartPath)
	if err != nil {
		return Chart{}, err
	}
	return choose(strings.Fields(tags), strings.Fields(changes)), nil
}

// choose takes the newest tag; without one the oldest of the changes listed, newest first; without an older one nothing.
func choose(tags, changes []string) Chart {
	switch {
	case len(tags) > 0:
		return Chart{tags[0], true, "the newest tag, " + tags[0]}
	case len(changes) > 1:
		rev := changes[len(changes)-1]
		return Chart{rev, false, fmt.Sprintf("no older tag here: the chart of %d changes ago, %.10s", len(changes)-1, rev)}
	default:
		return Chart{Why: "no tag and no history here: the chart of the working tree, so that only values change"}
	}
}

// Extract writes the chart below dir and returns where it lies.
func (c Chart) Extract(ctx context.Context, repository, dir string) (string, error) {
	if c.Rev == "" {
		target := filepath.Join(dir, filepath.FromSlash(chartPath))
		if err := os.CopyFS(target, os.DirFS(filepath.Join(repository, filepath.FromSlash(chartPath)))); err != nil {
			return "", fmt.Errorf("copy the chart: %w", err)
		}
		return target, nil
	}
	archive, err := git(ctx, repository, "archive", "--format=tar", c.Rev, "--", chartPath)
	if err != nil {
		return "", err
	}
	tar := exec.CommandContext(ctx, "tar", "-x", "-C", dir)
	tar.Stdin = strings.NewReader(archive)
	if out, err := tar.CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack the chart of %s: %w: %s", c.Rev, err, out)
	}
	return filepath.Join(dir, filepath.FromSlash(chartPath)), nil
}

func git(ctx context.Context, repository string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", repository}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
