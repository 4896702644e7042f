package main

import (
	"flag"
	"os"
	"syscall"
	"testing"
)

// TestMain lets more tests run at once than there are processors: they mostly wait, for disks and for each other's timeouts.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("6"); err != nil {
			panic(err) // a number is a number
		}
	}
	os.Exit(m.Run())
}

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
