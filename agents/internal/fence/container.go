package fence

import (
	"errors"
	"os"
	"syscall"
)

// ErrNotFirst is returned where killing everything would reach processes that are not the server's.
var ErrNotFirst = errors.New("guard is not the first process of its container: " +
	"run it as the container's command and leave shareProcessNamespace off, so that its end ends every process of the server")

// Container reaches the processes of the container that the caller is the first process of.
type Container struct{}

// InContainer refuses to make a Container for any process but PID 1: kill(-1) would go far beyond the server elsewhere, and the death
// of guard would leave the server running without anybody to fence it (SAFETY D11).
func InContainer() (Container, error) {
	if os.Getpid() != 1 {
		return Container{}, ErrNotFirst
	}
	return Container{}, nil
}

// Quit sends SIGQUIT. An error means that the process is gone, which is what is wanted.
func (Container) Quit(pid int) { _ = syscall.Kill(pid, syscall.SIGQUIT) }

// KillAll sends SIGKILL to all that the kernel lets PID 1 reach: every process of its PID namespace but itself. An error means that
// there is none.
func (Container) KillAll() { _ = syscall.Kill(-1, syscall.SIGKILL) }
