package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Runner runs the commands of engines and tools.
type Runner struct {
	// Echo gets everything the commands say while they run; nil for silence until one fails.
	Echo io.Writer
}

// Has says whether a program is in PATH.
func (r Runner) Has(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// Do runs a command. Its output is in the error when it fails.
func (r Runner) Do(ctx context.Context, program string, args ...string) error {
	_, err := r.Output(ctx, program, args...)
	return err
}

// Output runs a command and returns what it printed on standard output, without the last line's end.
func (r Runner) Output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	// Interrupt first: engines unmount what they have mounted.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	// overlay and chroot need no kernel module, no network set-up and no runc; only buildah and podman read these.
	cmd.Env = append(os.Environ(), "STORAGE_DRIVER="+env("STORAGE_DRIVER", "overlay"))
	if program == "buildah" {
		cmd.Env = append(cmd.Env, "BUILDAH_ISOLATION="+env("BUILDAH_ISOLATION", "chroot"))
	}
	var stdout, log bytes.Buffer
	all := &shared{to: &log}
	if r.Echo != nil {
		all.to = io.MultiWriter(&log, r.Echo)
	}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, all), all
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("%s %s: %w\n%s", program, args[0], err, tail(log.String(), 40))
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// shared is a writer that both outputs of a command may write to at once.
type shared struct {
	mu sync.Mutex
	to io.Writer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.Write(b)
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// tail keeps the last lines of a log: a failing build says why at its end.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
