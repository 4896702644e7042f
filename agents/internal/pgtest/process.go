package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Command says what to run inside a root file system.
type Command struct {
	// Path is an inside path, or a name that is looked up in the image's PATH.
	Path string
	Args []string
	// Env is added to PATH, LANG and HOME as the images set them. Nothing of the test's own environment is passed on.
	Env []string
	// Dir is the working directory, an inside path; "/" when empty.
	Dir string
	// UID and GID are the images' own when UID is 0: nothing here runs as root.
	UID, GID int
	Stdin    io.Reader
	// Binds are files and directories of the root file system that this process sees in other places too, as a pod's
	// mounts by subPath: inside paths by the inside path they appear at.
	Binds map[string]string
}

// Process is a running Command. It is PID 1 of its own PID namespace: when it ends, everything it started ends with it.
type Process struct {
	// PID is the process's id on the machine, the one a test sends signals to. In its own eyes it is 1.
	PID int

	cmd  *exec.Cmd
	out  *output
	err  *output
	done chan struct{}
	code int
}

// leave takes the new mount namespace into the root file system, with what a test has mounted below it. The other mounts of the machine must not stay in it: a copy of a mount keeps
// what is mounted in use, wherever else it is unmounted, for as long as the process runs.
const leave = `set -e
mount --rbind "$1" "$1"
cd "$1"
shift
pivot_root . .
mount -t proc proc /proc
umount -c -l .
cd /
exec /bin/sh -c "$@"`

// enter finishes the container from inside the root file system and becomes the command. The death signal is asked for again
// because changing the user clears the one set at the fork.
const enter = `set -e
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
cd "$1"
uid=$2 gid=$3 binds=$4
shift 4
while [ "$binds" -gt 0 ]; do
	mount --bind "$1" "$2"
	shift 2
	binds=$((binds - 1))
done
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs --pdeathsig=KILL -- "$@"`

// Start runs a command and does not wait for it. The process is killed at the end of the test if it still runs.
func (r *Root) Start(t testing.TB, c Command) *Process {
	t.Helper()
	p, err := r.start(c)
	if err != nil {
		t.Fatalf("start %s: %v", c.Path, err)
	}
	t.Cleanup(p.Kill)
	return p
}

// Run runs a command to its end and returns what it printed on standard output. The error carries the exit code
// (*ExitError) and what the command said on standard error. It is killed after a minute.
func (r *Root) Run(c Command) (string, error) {
	p, err := r.start(c)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", c.Path, err)
	}
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.Kill()
		return p.Stdout(), fmt.Errorf("%s still ran after a minute and was killed: %s", c.Path, p.Stderr())
	}
	if p.code != 0 {
		return p.Stdout(), &ExitError{Command: filepath.Base(c.Path), Code: p.code, Stderr: p.Stderr()}
	}
	return p.Stdout(), nil
}

// ExitError is the end of a command that did not succeed.
type ExitError struct {
	Command string
	// Code is the exit status, or 128 + n after signal n.
	Code   int
	Stderr string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s: exit status %d: %s", e.Command, e.Code, strings.TrimSpace(e.Stderr))
}

func (r *Root) start(c Command) (*Process, error) {
	if c.UID == 0 {
		c.UID, c.GID = UID, GID
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
	args := []string{"-c", leave, "leave", r.Dir, enter, "enter", c.Dir, strconv.Itoa(c.UID), strconv.Itoa(c.GID), strconv.Itoa(len(c.Binds))}
	for at, what := range c.Binds {
		args = append(args, what, at)
	}
	args = append(append(args, c.Path), c.Args...)
	// No context of the test's: that one ends before the cleanup does, and the cleanup ends processes in their order.
	cmd := exec.CommandContext(context.Background(), "/bin/sh", args...)
	cmd.Dir = "/"
	cmd.Env = append([]string{
		"PATH=" + r.BinDir() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8",
		"HOME=/",
	}, c.Env...)
	cmd.Stdin = c.Stdin
	p := &Process{cmd: cmd, out: &output{}, err: &output{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.err
	// A process may leave its output to one that outlives it only outside a PID namespace, so this is a safety net.
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Unshareflags: syscall.CLONE_NEWNS,
		Setpgid:      true, // Ctrl-C is for the test binary, which then decides
		Pdeathsig:    syscall.SIGKILL,
	}
	if err := fork(cmd); err != nil {
		return nil, err
	}
	p.PID = cmd.Process.Pid
	go p.reap()
	return p, nil
}

func (p *Process) reap() {
	err := p.cmd.Wait()
	p.code = p.cmd.ProcessState.ExitCode()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		p.code = 128 + int(status.Signal())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(p.err, "pgtest: wait: %v\n", err)
	}
	close(p.done)
}

// forks is served by one goroutine that never leaves its thread. The kernel sends the death signal when the *thread*
// that forked ends, and the Go runtime may end threads of ordinary goroutines (golang.org/issue/27505).
var forks = sync.OnceValue(func() chan<- func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range queue {
			f()
		}
	}()
	return queue
})

func fork(cmd *exec.Cmd) error {
	result := make(chan error)
	forks() <- func() { result <- cmd.Start() }
	return <-result
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process, as a kubelet or a person would from outside the container.
func (p *Process) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal %v to %d: %v", sig, p.PID, err)
	}
}

// Kill ends the process and everything in its PID namespace with SIGKILL and waits for the end. It does nothing to a
// process that has ended.
func (p *Process) Kill() {
	// An error means that it has ended already.
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Wait waits for the end and returns the exit code, 128 + n after signal n. It fails the test after the time given.
func (p *Process) Wait(t testing.TB, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.code
	case <-time.After(limit):
		t.Fatalf("process %d still runs after %v\n%s%s", p.PID, limit, p.Stdout(), p.Stderr())
		return -1
	}
}

// Stdout is what the process has written so far to standard output.
func (p *Process) Stdout() string { return p.out.String() }

// Stderr is what the process has written so far to standard error.
func (p *Process) Stderr() string { return p.err.String() }

// Child is a process below another one.
type Child struct {
	// PID is the id on the machine.
	PID int
	// Name is the kernel's short name of the program ("postgres").
	Name string
}

// Children are the processes that this one has started and that still run, by their ids on the machine. Those that are
// dead and not yet reaped are not among them.
func (p *Process) Children() []Child { return children(p.PID) }

func children(pid int) []Child {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var found []Child
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid …; the name may hold spaces and brackets.
		open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		if open < 0 || end < open {
			continue
		}
		rest := strings.Fields(string(stat[end+1:]))
		if len(rest) < 2 || rest[0] == "Z" || rest[1] != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(strings.TrimSpace(string(stat[:open])))
		if err != nil {
			continue
		}
		found = append(found, Child{PID: child, Name: string(stat[open+1 : end])})
	}
	return found
}

// output is a buffer that a test may read while the process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
