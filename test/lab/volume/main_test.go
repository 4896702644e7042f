package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/lab/volume/privatemounts"
)

// killedStore is the directory of a process that opens a store, breaks its volumes and waits to be killed.
const killedStore = "LAB_VOLUME_TEST_KILLED_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedStore); dir != "" {
		if err := breakAndWait(context.Background(), dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(privatemounts.Main(m))
}

func breakAndWait(ctx context.Context, dir string) error {
	s, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	for _, name := range []string{"healthy", "slow", "hung"} {
		if _, err := s.Create(ctx, Spec{Name: name, Bytes: LeastBytes}); err != nil {
			return err
		}
		if err := writeSynced(filepath.Join(s.Path(name), "row"), "row 1"); err != nil {
			return err
		}
	}
	if err := errors.Join(s.Slow(ctx, "slow", Limit{IOPS: 7}), s.Hang(ctx, "hung")); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices and mounts need root")
	}
}

// newStore opens a store of its own and proves at the end that the machine has nothing of it left.
func newStore(t *testing.T) *Store {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if got := leftovers(t, dir); got != "" {
			t.Errorf("after Close the machine still has:\n%s", got)
		}
	})
	return s
}

// leftovers asks the machine itself, by other means than the package uses.
func leftovers(t *testing.T, dir string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	loops, err := exec.Command("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").Output()
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for line := range strings.Lines(string(mounts) + string(loops)) {
		if strings.Contains(line, dir) {
			left = append(left, strings.TrimSpace(line))
		}
	}
	return strings.Join(left, "\n")
}

func create(t *testing.T, s *Store, spec Spec) {
	t.Helper()
	if spec.Bytes == 0 {
		spec.Bytes = LeastBytes
	}
	if _, err := s.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, s *Store, name string) Volume {
	t.Helper()
	all, err := s.List()
	must(t, err)
	for _, v := range all {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("%s is not listed", name)
	return Volume{}
}

// df is what the program df shows, not what the package believes.
func df(t *testing.T, path string) (size, available int64) {
	t.Helper()
	out, err := exec.Command("df", "-B1", "--output=size,avail", path).Output()
	must(t, err)
	if _, err := fmt.Sscan(string(bytes.SplitN(out, []byte("\n"), 2)[1]), &size, &available); err != nil {
		t.Fatalf("df printed %q: %v", out, err)
	}
	return size, available
}

func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_SYNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	return string(raw)
}

// start runs a shell script and has it ended with the test.
func start(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() { stop(cmd) })
	return cmd
}

func stop(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	ok, err := waitFor(t.Context(), 10*time.Second, func() (bool, error) { return ask(), nil })
	if !ok || err != nil {
		t.Fatalf("never happened: %s (%v)", what, err)
	}
}
