package pgtools

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// Bind makes a program, with all that it starts, die when cmd's context ends and when we do, and lets it inherit lock: the volume is not
// free while something still writes to it. lock may be nil.
func Bind(cmd *exec.Cmd, lock *os.File) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if lock != nil {
		cmd.ExtraFiles = []*os.File{lock}
	}
}

// Run runs a bound program. It keeps its thread for itself, because the kernel sends the death signal when the thread that forked ends.
func Run(cmd *exec.Cmd) error { return RunStarted(cmd, make(chan struct{})) }

// RunStarted is Run, and closes started when the program runs, or could not be started.
func RunStarted(cmd *exec.Cmd, started chan<- struct{}) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		close(started)
		if err == nil {
			err = cmd.Wait()
		}
		done <- err
	}()
	return <-done
}

// Lines hands each line of a program's output to Each, and remembers the last ones that tell something, for an error. Lines may end in
// \r, as progress on a terminal does. It is written to by one goroutine, as exec.Cmd does when both outputs are the same writer.
type Lines struct {
	Each func(string)
	// Dull says of a line that it is nothing to remember. Nil: none is.
	Dull func(string) bool

	rest string
	last []string
}

const remembered = 5

// Write takes output.
func (l *Lines) Write(b []byte) (int, error) {
	l.rest += string(b)
	for {
		i := strings.IndexAny(l.rest, "\r\n")
		if i < 0 {
			return len(b), nil
		}
		line := strings.TrimSpace(l.rest[:i])
		l.rest = l.rest[i+1:]
		if line == "" {
			continue
		}
		if l.Each != nil {
			l.Each(line)
		}
		if l.Dull == nil || !l.Dull(line) {
			l.last = append(l.last, line)
			l.last = l.last[max(0, len(l.last)-remembered):]
		}
	}
}

// Said is what program said last, about its failure.
func (l *Lines) Said(program string) string {
	var complaints []string
	for _, line := range append(l.last, strings.TrimSpace(l.rest)) {
		if line != "" {
			complaints = append(complaints, strings.TrimPrefix(line, program+": "))
		}
	}
	return strings.Join(complaints, "; ")
}
