// Package reaper collects dead processes for a program that is PID 1 of its container: orphans are handed to it by the kernel, and
// nobody else would ever wait for them. The one child whose exit status matters is started through the reaper, which then tells its end
// to whoever asked; all other code that starts programs and waits for them itself does so inside Aside.
package reaper

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// sweep is how often the reaper looks without having been signalled: SIGCHLD of several processes may arrive as one, and what died during
// Aside was left lying.
const sweep = time.Second

// Reaper waits for processes. The zero value is not usable; use New.
type Reaper struct {
	// mu is held while a child is started and while the dead are collected, so that no child can be collected before it is known.
	mu       sync.Mutex
	children map[int]*Child
	aside    int // calls of Aside under way
	wake     chan os.Signal
}

// New makes a reaper. It collects nothing before Run.
func New() *Reaper {
	r := &Reaper{children: map[int]*Child{}, wake: make(chan os.Signal, 1)}
	signal.Notify(r.wake, syscall.SIGCHLD)
	return r
}

// Child is a process started by Start.
type Child struct {
	// PID is the child's process id.
	PID    int
	done   chan struct{}
	status syscall.WaitStatus
}

// Done is closed when the child has ended and was collected.
func (c *Child) Done() <-chan struct{} { return c.done }

// Status is how the child ended. It is valid once Done is closed.
func (c *Child) Status() syscall.WaitStatus { return c.status }

// Start starts a program whose end is told through the Child.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr) (*Child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	c := &Child{PID: pid, done: make(chan struct{})}
	r.children[pid] = c
	return c, nil
}

// Run collects the dead until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	defer signal.Stop(r.wake)
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	for {
		r.collect()
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-tick.C:
		}
	}
}

// Aside runs f, which may start programs and wait for them by itself (os/exec does). Until f returns, nothing but children from Start
// is collected: the reaper cannot tell an orphan from a program that f is about to ask for its status.
func (r *Reaper) Aside(f func() error) error {
	r.mu.Lock()
	r.aside++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.aside--
		r.mu.Unlock()
	}()
	return f()
}

// Collect takes what is dead at this moment, for a caller that is about to start a program which must not take a zombie for a living
// process.
func (r *Reaper) Collect() { r.collect() }

func (r *Reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aside > 0 {
		for pid := range r.children {
			r.wait(pid)
		}
		return
	}
	for r.wait(-1) {
	}
}

// wait collects one dead process and reports whether there was one.
func (r *Reaper) wait(pid int) bool {
	var status syscall.WaitStatus
	dead, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	for err == syscall.EINTR {
		dead, err = syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	}
	if err != nil || dead <= 0 { // ECHILD: there are no children at all
		return false
	}
	if c, ok := r.children[dead]; ok {
		delete(r.children, dead)
		c.status = status
		close(c.done)
	}
	return true
}
