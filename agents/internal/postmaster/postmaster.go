// Package postmaster starts and stops one PostgreSQL server as a child process, and knows the files by which it is told what to be. It
// never asks the server anything: what it knows is what a process table and a data directory show.
package postmaster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/pgspan/pgspan/agents/internal/reaper"
)

// Command says how a server is started.
type Command struct {
	// Program is the path of the postgres binary.
	Program string
	// Args are the arguments after the program's name.
	Args []string
	// Data is the data directory; it becomes the working directory of the server in any case.
	Data string
	// Env is the whole environment of the server. See CleanEnv.
	Env []string
	// Lock is the volume's lock, inherited by the postmaster and by everything it forks.
	Lock *os.File
}

// Server is a running postmaster.
type Server struct {
	child *reaper.Child
	data  string
}

// Start starts the server in a session of its own, so that no terminal and no signal to guard's process group reaches it. It returns when
// the program has been started, not when it is ready.
func Start(r *reaper.Reaper, c Command) (*Server, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	defer null.Close()
	child, err := r.Start(c.Program, append([]string{c.Program}, c.Args...), &syscall.ProcAttr{
		Dir: c.Data,
		Env: c.Env,
		// Descriptors named here lose close-on-exec, and PostgreSQL closes none that it does not know: every backend keeps the lock.
		Files: []uintptr{null.Fd(), os.Stdout.Fd(), os.Stderr.Fd(), c.Lock.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	return &Server{child: child, data: c.Data}, nil
}

// PID is the postmaster's process id.
func (s *Server) PID() int { return s.child.PID }

// Done is closed when the postmaster has ended. Its backends may live on: only the volume's lock says that they are gone.
func (s *Server) Done() <-chan struct{} { return s.child.Done() }

// Ended reports whether the postmaster has ended.
func (s *Server) Ended() bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// Exit is how the postmaster ended, as an exit code (128 + n after signal n) and as words. It is valid once Done is closed.
func (s *Server) Exit() (int, string) { return describe(s.child.Status()) }

func describe(st syscall.WaitStatus) (int, string) {
	if st.Signaled() {
		return 128 + int(st.Signal()), fmt.Sprintf("killed by signal %d (%s)", st.Signal(), st.Signal())
	}
	return st.ExitStatus(), fmt.Sprintf("exit status %d", st.ExitStatus())
}

// Status is what the postmaster says of itself.
func (s *Server) Status() (Status, error) { return ReadStatus(s.data, s.PID()) }

// FastShutdown ends all sessions, writes a checkpoint and stops: SIGINT. (SIGTERM would wait for every client to go.)
func (s *Server) FastShutdown() error { return s.signal("shut server down", syscall.SIGINT) }

// Reload makes the server read its configuration, keys and pg_hba.conf again.
func (s *Server) Reload() error { return s.signal("reload server", syscall.SIGHUP) }

func (s *Server) signal(doing string, sig syscall.Signal) error {
	if s.Ended() {
		return fmt.Errorf("%s: it has ended", doing)
	}
	if err := syscall.Kill(s.PID(), sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// CleanEnv returns env without what would reach into the server: libpq and the server read variables that begin with PG, and secrets
// that images expect in POSTGRES_… are readable by every function that starts a program. Everything else stays, because extensions
// are configured by variables (GDAL_DATA, for one).
func CleanEnv(env []string) []string {
	var clean []string
	for _, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "POSTGRES_") {
			continue
		}
		clean = append(clean, kv)
	}
	return clean
}
