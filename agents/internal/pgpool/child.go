package pgpool

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/agents/internal/reaper"
)

// child is a running pgpool, started through the reaper because the pooler is PID 1 of its container.
type child struct{ *reaper.Child }

func start(r *reaper.Reaper, program string, p Places) (child, error) {
	argv := []string{program, "-n", "-D", "-f", p.Conf + "/pgpool.conf", "-a", p.Conf + "/pool_hba.conf"}
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

// stop ends pgpool: SIGINT closes its sessions, SIGKILL follows when that takes longer than within.
func (c child) stop(ctx context.Context, within time.Duration) {
	_ = syscall.Kill(c.PID, syscall.SIGINT) // ESRCH: it has ended already
	select {
	case <-c.Done():
	case <-time.After(within):
	case <-ctx.Done():
	}
	_ = syscall.Kill(-c.PID, syscall.SIGKILL) // ESRCH: none of its children is left, as it should be
	<-c.Done()
}

// reload makes pgpool read its files again.
func (c child) reload() error {
	if err := syscall.Kill(c.PID, syscall.SIGHUP); err != nil {
		return fmt.Errorf("reload pgpool: %w", err)
	}
	return nil
}

// ended says how pgpool ended when nobody had asked it to.
func (c child) ended() error {
	s := c.Status()
	if s.Signaled() {
		return fmt.Errorf("pgpool ended by signal %d", s.Signal())
	}
	return fmt.Errorf("pgpool ended with exit status %d", s.ExitStatus())
}
