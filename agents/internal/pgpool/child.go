package pgpool

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// child is a running pgpool.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

func start(program string, p Places) (*child, error) {
	cmd := exec.Command(program, "-n", "-D", "-f", p.Conf+"/pgpool.conf", "-a", p.Conf+"/pool_hba.conf")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// A group of its own, so that children of a pgpool that died are found.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start pgpool: %w", err)
	}
	c := &child{cmd: cmd, done: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // ESRCH: none left, as it should be
		close(c.done)
	}()
	return c, nil
}

// stop ends pgpool: SIGINT closes its sessions, SIGKILL follows when that takes longer than within.
func (c *child) stop(ctx context.Context, within time.Duration) {
	_ = c.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-c.done:
		return
	case <-time.After(within):
	case <-ctx.Done():
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.done
}

// reload makes pgpool read its files again.
func (c *child) reload() error {
	if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("reload pgpool: %w", err)
	}
	return nil
}
