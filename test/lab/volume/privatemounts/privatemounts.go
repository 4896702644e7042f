// Package privatemounts runs a package's tests in a mount namespace of their own. Mounts made in the machine's are
// copied by every process that gives itself a mount namespace meanwhile (other tests, image builders), and such a copy
// keeps a file system and its loop device alive for as long as that process runs.
package privatemounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const inside = "LAB_TESTS_IN_PRIVATE_MOUNTS"

// Main is for TestMain. It returns the exit code.
func Main(m *testing.M) int {
	// Without root there are no namespaces; the tests that need root say so themselves.
	if os.Getenv(inside) != "" || os.Geteuid() != 0 {
		return m.Run()
	}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "run the tests in a mount namespace:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}
