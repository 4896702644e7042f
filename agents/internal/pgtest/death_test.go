package pgtest

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// child says to this test binary that it is the one to be killed.
const child = "PGTEST_CHILD"

func TestServersDieWithTheTestBinary(t *testing.T) {
	if os.Getenv(child) != "" {
		s := New(t, 17)
		s.Start(t)
		os.Stdout.WriteString("server " + strconv.Itoa(s.Process().PID) + "\n")
		time.Sleep(time.Hour) // until the parent kills us
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServersDieWithTheTestBinary$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		// Both fail in the good case: it is dead by then, and of a signal.
		_, _ = cmd.Process.Kill(), cmd.Wait()
	}()

	var pid int
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "server "); ok {
			if pid, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if pid == 0 {
		t.Fatal("the other test binary started no server")
	}
	backends := children(pid)
	if len(backends) == 0 {
		t.Fatalf("server %d has no children", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, p := range append(backends, Child{PID: pid, Name: "server"}) {
		for syscall.Kill(p.PID, 0) == nil {
			if time.Now().After(deadline) {
				t.Fatalf("%v outlived the test binary by 10 s", p)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
