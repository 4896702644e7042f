package pgpool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/agents/internal/reaper"
)

const (
	// linger is how long a stopping pgpool still takes sessions: its Service leads here until every node has heard of the end.
	linger = 2 * time.Second
	// closing is how long pgpool may take to close its sessions once it must.
	closing = 3 * time.Second
)

// child is a running pgpool, started through the reaper because the pooler is PID 1 of its container.
type child struct{ *reaper.Child }

func start(r *reaper.Reaper, program string, p Places) (child, error) {
	// A container that was killed leaves its memory volumes. pgpool does not start while a process has the number in its old file, and
	// in a new container that is pgpool itself.
	if err := os.Remove(p.pidFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return child{}, fmt.Errorf("start pgpool: %w", err)
	}
	if err := removeLeftovers(); err != nil {
		return child{}, err
	}
	argv := []string{program, "-n", "-D", "-f", filepath.Join(p.Conf, "pgpool.conf"), "-a", filepath.Join(p.Conf, "pool_hba.conf"),
		"-F", filepath.Join(p.Conf, "pcp.conf")}
	c, err := r.Start(program, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		// A group of its own, so that the children of a pgpool that died are found.
		Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return child{}, err
	}
	return child{c}, nil
}

// drain refuses new sessions and waits until no session is in a query or a transaction, at most for the time given.
func (c child) drain(within time.Duration) {
	_ = syscall.Kill(c.PID, syscall.SIGTERM) // ESRCH: it has ended already
	limit := time.NewTimer(within)
	defer limit.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for anyBusy(sessionsOf(c.PID)) {
		select {
		case <-c.Done():
			return
		case <-limit.C:
			return
		case <-look.C:
		}
	}
}

// end closes every session and pgpool with them.
func (c child) end() {
	// To the whole group: a pgpool that is being drained hears no second signal, but its children do.
	_ = syscall.Kill(-c.PID, syscall.SIGINT) // ESRCH: it has ended already
	select {
	case <-c.Done():
	case <-time.After(closing):
	}
	_ = syscall.Kill(-c.PID, syscall.SIGKILL) // ESRCH: none of its children is left, as it should be
	<-c.Done()
}

// ended says how pgpool ended when nobody had asked it to.
func (c child) ended() error {
	s := c.Status()
	if s.Signaled() {
		return fmt.Errorf("pgpool ended by signal %d", s.Signal())
	}
	return fmt.Errorf("pgpool ended with exit status %d", s.ExitStatus())
}
