package host

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// supervise runs units as a host's first process does, and returns them and the folder of their logs.
func supervise(t *testing.T, units ...Unit) (s *supervisor, dir string) {
	t.Helper()
	// Orphans come to us then, as they come to the first process of a host.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	s = newSupervisor(units, func(unit string) string { return filepath.Join(dir, unit) }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	for _, u := range s.units {
		go s.run(ctx, u)
	}
	collected := make(chan struct{})
	go func() {
		s.reap(ctx)
		close(collected)
	}()
	t.Cleanup(func() {
		for _, u := range s.units {
			u.want(false)
		}
		eventually(t, "all programs ended", func() bool {
			for _, u := range s.units {
				if pid, _ := running(u); pid != 0 {
					return false
				}
			}
			return true
		})
		cancel()
		<-collected
	})
	return s, dir
}

func running(u *unit) (pid, starts int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.pid, u.starts
}

func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ask(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func TestSupervisor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	s, dir := supervise(t,
		Unit{Name: "killed", Command: []string{"/bin/sleep", "1000"}},
		Unit{Name: "fails", Command: []string{"/bin/sh", "-c", "echo again; exit 3"}},
		Unit{Name: "missing", Command: []string{"/no/such/program"}},
		Unit{Name: "waits", Command: []string{"/bin/sleep", "1000"}, WaitFor: "unix:" + socket},
		Unit{Name: "parent", Command: []string{"/bin/sh", "-c", "(sleep 0.2 & echo $!); exec sleep 1000"}},
		Unit{Name: "environment", Command: []string{"/bin/sh", "-c", "echo $LAB; exec sleep 1000"}, Env: []string{"LAB=set"}},
	)

	t.Run("killed_program_is_started_again", func(t *testing.T) {
		u := s.find("killed")
		eventually(t, "first start", func() bool { pid, _ := running(u); return pid != 0 })
		first, _ := running(u)
		if err := unix.Kill(first, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "second start", func() bool { pid, starts := running(u); return pid != 0 && pid != first && starts == 2 })
	})
	t.Run("stopped_program_stays_stopped_until_started", func(t *testing.T) {
		u := s.find("killed")
		u.want(false)
		eventually(t, "stop", func() bool { pid, _ := running(u); return pid == 0 })
		_, before := running(u)
		time.Sleep(3 * firstPause)
		if pid, starts := running(u); pid != 0 || starts != before {
			t.Errorf("got process %d and %d starts of a stopped program, want none and %d", pid, starts, before)
		}
		u.want(true)
		eventually(t, "start", func() bool { pid, _ := running(u); return pid != 0 })
	})
	t.Run("failing_program_is_tried_again", func(t *testing.T) {
		eventually(t, "two lines in its log", func() bool {
			text, err := os.ReadFile(filepath.Join(dir, "fails"))
			return err == nil && strings.Count(string(text), "again\n") >= 2
		})
	})
	t.Run("program_waits_for_what_it_needs", func(t *testing.T) {
		u := s.find("waits")
		if _, starts := running(u); starts != 0 {
			t.Fatalf("got %d starts before the socket was there", starts)
		}
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		eventually(t, "start", func() bool { pid, _ := running(u); return pid != 0 })
	})
	t.Run("orphan_is_collected", func(t *testing.T) {
		orphan := 0
		eventually(t, "orphan's number in the log", func() bool {
			text, err := os.ReadFile(filepath.Join(dir, "parent"))
			if err != nil {
				return false
			}
			orphan, err = strconv.Atoi(string(bytes.TrimSpace(text)))
			return err == nil
		})
		eventually(t, "orphan gone", func() bool { return unix.Kill(orphan, 0) == unix.ESRCH })
	})
	t.Run("environment_is_passed_on", func(t *testing.T) {
		eventually(t, "value in the log", func() bool {
			text, err := os.ReadFile(filepath.Join(dir, "environment"))
			return err == nil && string(text) == "set\n"
		})
	})
}
