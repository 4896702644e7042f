package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/wan"
	"golang.org/x/sys/unix"
)

// Names of this program's own commands that a host is started with.
const (
	EnterCommand = "host-enter"
	InitCommand  = "host-init"
)

// errEarlyEnd is there because a process that ends well ends without an error.
var errEarlyEnd = errors.New("first process ended")

// Start starts a host whose network is attached already, and returns once its first process runs. A host that runs
// is left as it is.
func Start(ctx context.Context, spec Spec) error {
	alive, err := Alive(spec.Name)
	if err != nil || alive {
		return err
	}
	if err := spec.save(); err != nil {
		return err
	}
	if err := cgroup.Make(spec.Name, spec.Shares); err != nil {
		return err
	}
	log, err := os.OpenFile(LogFile(spec.Name, "init"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start host %s: %w", spec.Name, err)
	}
	defer func() { _ = log.Close() }()
	_ = os.Remove(socketFile(spec.Name))
	// The host outlives the command that starts it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe", EnterCommand, spec.Name)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start host %s: %w", spec.Name, err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	process, err := Identify(cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := process.Save(processFile(spec.Name)); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(socketFile(spec.Name)); err == nil {
			return nil
		}
		select {
		case err := <-exited:
			return fmt.Errorf("host %s ended at its start, see %s: %w", spec.Name, LogFile(spec.Name, "init"), errors.Join(errEarlyEnd, err))
		case <-ctx.Done():
			return fmt.Errorf("start host %s: %w", spec.Name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Enter is the first step inside a new process: it joins the host's control groups and becomes the command that makes
// the host's namespaces, so that nothing of the host ever runs outside its groups.
func Enter(name string) error {
	spec, err := Load(name)
	if err != nil {
		return err
	}
	if err := cgroup.Enter(name); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	offset, err := clockOffset(spec.Uptime)
	if err != nil {
		return err
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("enter host %s: %w", name, err)
	}
	args := []string{"nsenter", "--net=" + wan.NamespacePath(wan.HostNamespace(name)),
		"unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave",
		"--time", "--boottime", offset, "--monotonic", offset, self, InitCommand, name}
	return fmt.Errorf("enter host %s: %w", name, syscall.Exec(nsenter, args, os.Environ()))
}

// clockOffset is what to add to the machine's boot clock to make it show the uptime now, in whole seconds.
func clockOffset(uptime time.Duration) (string, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return "", fmt.Errorf("read boot clock: %w", err)
	}
	return strconv.FormatInt(int64(uptime.Seconds())-now.Sec, 10), nil
}

// Alive says whether the host runs.
func Alive(name string) (bool, error) {
	process, known, err := LoadProcess(processFile(name))
	return known && process.Alive(), err
}

// Kill ends everything in the host at once and leaves its files alone.
func Kill(ctx context.Context, name string) error { return cgroup.Kill(ctx, name) }

// InitPID is the host's first process, as the machine numbers it.
func InitPID(name string) (int, error) {
	process, known, err := LoadProcess(processFile(name))
	if err != nil {
		return 0, err
	}
	if !known || !process.Alive() {
		return 0, fmt.Errorf("host %s does not run", name)
	}
	pid := strconv.Itoa(process.PID)
	data, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
	if err != nil {
		return 0, fmt.Errorf("find first process of %s: %w", name, err)
	}
	fields := strings.Fields(string(data))
	if len(fields) != 1 {
		return 0, fmt.Errorf("host %s has %d first processes, not one", name, len(fields))
	}
	return strconv.Atoi(fields[0])
}

// EnterCommandLine is the command that runs another command inside the host.
func EnterCommandLine(name string, args ...string) ([]string, error) {
	pid, err := InitPID(name)
	if err != nil {
		return nil, err
	}
	return append([]string{"nsenter", "--target", strconv.Itoa(pid), "--mount", "--net", "--pid", "--ipc", "--"}, args...), nil
}
