package reaper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func running(t *testing.T) *Reaper {
	t.Helper()
	r := New()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

func attr() *syscall.ProcAttr { return &syscall.ProcAttr{Files: []uintptr{0, 1, 2}} }

func TestExitStatusReachesWhoStartedTheChild(t *testing.T) {
	r := running(t)
	for _, tt := range []struct {
		script     string
		wantExit   int
		wantSignal syscall.Signal
	}{
		{"exit 0", 0, -1},
		{"exit 3", 3, -1},
		{"kill -9 $$", -1, syscall.SIGKILL},
	} {
		c, err := r.Start("/bin/sh", []string{"sh", "-c", tt.script}, attr())
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%q: the end was not told", tt.script)
		}
		if got := c.Status().ExitStatus(); got != tt.wantExit {
			t.Errorf("%q: exit status is %d, want %d", tt.script, got, tt.wantExit)
		}
		if got := c.Status().Signal(); got != tt.wantSignal {
			t.Errorf("%q: signal is %d, want %d", tt.script, got, tt.wantSignal)
		}
	}
}

func TestOrphansAreCollected(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	r := running(t)
	// The shell leaves three orphans behind, which then die and are nobody's but ours.
	c, err := r.Start("/bin/sh", []string{"sh", "-c", "for i in 1 2 3; do (sleep 0.2; exit 1) & done; exit 0"}, attr())
	if err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	eventually(t, "no child is left", func() (bool, string) {
		left := childrenOf(t, os.Getpid())
		return len(left) == 0, strings.Join(left, ", ")
	})
}

func TestProgramsRunAsideKeepTheirStatus(t *testing.T) {
	r := running(t)
	for range 100 {
		err := r.Aside(func() error { return exec.Command("/bin/sh", "-c", "exit 7").Run() })
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Fatalf("got %v, want exit status 7", err)
		}
	}
}

func TestChildThatEndsWhileAnotherProgramRunsAsideIsTold(t *testing.T) {
	r := running(t)
	err := r.Aside(func() error {
		c, err := r.Start("/bin/sh", []string{"sh", "-c", "exit 5"}, attr())
		if err != nil {
			return err
		}
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			return fmt.Errorf("the end was not told")
		}
		if got := c.Status().ExitStatus(); got != 5 {
			return fmt.Errorf("exit status is %d, want 5", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	if _, err := running(t).Start("/nonexistent/postgres", []string{"postgres"}, attr()); err == nil {
		t.Error("starting a program that does not exist gave no error")
	}
}

func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	var seen string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var done bool
		if done, seen = ok(); done {
			return
		}
	}
	t.Fatalf("not within 10 s: %s; there is %s", what, seen)
}

// childrenOf lists living and dead children, with their states.
func childrenOf(t *testing.T, pid int) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		s := string(b)
		rest := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
		if len(rest) > 1 && rest[1] == fmt.Sprint(pid) {
			found = append(found, fmt.Sprintf("%s (%s)", filepath.Dir(path), rest[0]))
		}
	}
	return found
}
