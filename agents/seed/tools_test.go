package main

import (
	"os"
	"syscall"
	"testing"
)

func chmod(t *testing.T, path string, mode uint32) {
	t.Helper()
	// syscall, because os.Chmod spells the set-group-id bit differently.
	if err := syscall.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// freeze stops or continues every process of a server, as a paused machine would.
func freeze(t *testing.T, l *leader, stop bool) {
	t.Helper()
	sig := syscall.SIGCONT
	if stop {
		sig = syscall.SIGSTOP
	}
	for _, c := range l.Process().Children() {
		if err := syscall.Kill(c.PID, sig); err != nil && !os.IsNotExist(err) {
			t.Logf("signal %d: %v", c.PID, err)
		}
	}
	l.Process().Signal(t, sig)
}
