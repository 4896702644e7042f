package volume

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
)

// node is a mount namespace as a lab's node has it: made before the volumes are mounted.
func node(t *testing.T) (run func(script string, args ...string) (string, error)) {
	t.Helper()
	cmd := start(t, "unshare", "--mount", "--propagation", "slave", "sleep", "600")
	namespace := "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/mnt"
	own, err := os.Readlink("/proc/self/ns/mnt")
	must(t, err)
	eventually(t, "the node has a mount namespace", func() bool {
		got, err := os.Readlink(namespace)
		return err == nil && got != own
	})
	return func(script string, args ...string) (string, error) {
		args = append([]string{"--mount=" + namespace, "sh", "-c", script, "sh"}, args...)
		out, err := exec.Command("nsenter", args...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
}

func TestRunningNodeSeesNewVolume(t *testing.T) {
	s := newStore(t)
	run := node(t)
	create(t, s, Spec{Name: "data", Bytes: 1 << 30})
	if got, err := run(`df -B1 --output=size "$1" | tail -1`, s.Path("data")); err != nil || got != "1073741824" {
		t.Errorf("df in the node: got %q, %v, want 1073741824", got, err)
	}
	must(t, s.Delete(t.Context(), "data"))
	if got, err := run(`stat "$1"`, s.Path("data")); err == nil {
		t.Errorf("the node still has the deleted volume: %s", got)
	}
}

func TestOneHolderAtATime(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	create(t, s, Spec{Name: "data", Exclusive: true})
	if find(t, s, "data").Mounted {
		t.Error("mounted for nobody")
	}
	path, err := s.Attach(ctx, "data", "a1")
	must(t, err)
	must(t, writeSynced(filepath.Join(path, "row"), "row 1"))
	if again, err := s.Attach(ctx, "data", "a1"); again != path || err != nil {
		t.Errorf("attach again: got %q, %v", again, err)
	}
	var held *HeldError
	if _, err := s.Attach(ctx, "data", "a2"); !errors.As(err, &held) || held.Holder != "a1" {
		t.Errorf("second holder: got %v, want a HeldError that names a1", err)
	}
	if err := s.Delete(ctx, "data"); !errors.As(err, &held) {
		t.Errorf("delete while attached: got %v, want a HeldError", err)
	}
	if fenced, err := s.Detach(ctx, "data", "a2"); fenced || err != nil || find(t, s, "data").Holder != "a1" {
		t.Errorf("detach from who does not hold it: %v, %v, holder %q", fenced, err, find(t, s, "data").Holder)
	}
	fenced, err := s.Detach(ctx, "data", "a1")
	must(t, err)
	if v := find(t, s, "data"); fenced || v.Mounted || v.Holder != "" {
		t.Errorf("after detach: fenced %v, %+v", fenced, v)
	}
	_, err = s.Grow(ctx, "data", 1<<30)
	must(t, err)
	path, err = s.Attach(ctx, "data", "a2")
	must(t, err)
	if got := read(t, filepath.Join(path, "row")); got != "row 1" {
		t.Errorf("second holder reads %q", got)
	}
	if size, _ := df(t, path); size != 1<<30 {
		t.Errorf("grown while attached to nobody: df shows %d", size)
	}
}

// A node that is cut off keeps its processes, open files and mounts. What it writes after the volume was given to
// another node must reach neither the disk nor the other node.
func TestDetachFencesNodeThatStillWrites(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	create(t, s, Spec{Name: "data", Exclusive: true})
	first := node(t)
	path, err := s.Attach(ctx, "data", "a1")
	must(t, err)
	target := t.TempDir()
	if out, err := first(`mount --bind "$1" "$2" && echo "row 1" > "$2/row" && sync "$2/row"`, path, target); err != nil {
		t.Fatalf("use the volume in the node: %v: %s", err, out)
	}

	must(t, s.Slow(ctx, "data", Limit{IOPS: 5}))
	must(t, s.Hang(ctx, "data"))
	fenced, err := s.Detach(ctx, "data", "a1")
	must(t, err)
	if !fenced {
		t.Error("the node used the volume, and was not fenced")
	}
	path, err = s.Attach(ctx, "data", "a2")
	must(t, err)
	must(t, s.Heal(ctx, "data"))
	if out, err := first(`echo "row 2" > "$1/row" && sync "$1/row"`, target); err == nil || !strings.Contains(out, "rror") {
		t.Errorf("the fenced node could write (%v): %s", err, out)
	}
	if got, want := read(t, filepath.Join(path, "row")), "row 1\n"; got != want {
		t.Errorf("the new node reads %q, want %q", got, want)
	}
	must(t, writeSynced(filepath.Join(path, "row"), "row 3\n"))
	// Again, with the first node's dead mount still there.
	fenced, err = s.Detach(ctx, "data", "a2")
	must(t, err)
	if fenced {
		t.Error("nobody used the volume, and somebody was fenced")
	}
	path, err = s.Attach(ctx, "data", "a1")
	must(t, err)
	if got, want := read(t, filepath.Join(path, "row")), "row 3\n"; got != want {
		t.Errorf("the next holder reads %q, want %q", got, want)
	}
}

// A tool that copied the machine's mounts for itself, as image builders do, keeps every file system in them alive. A
// store opened again must go on with that file system, not begin a second one on the same blocks.
func TestOpenWhileForeignNamespaceHoldsTheVolumes(t *testing.T) {
	needRoot(t)
	ctx := t.Context()
	dir := t.TempDir()
	s, err := Open(ctx, dir)
	must(t, err)
	t.Cleanup(func() { must(t, Remove(context.Background(), dir)) })
	create(t, s, Spec{Name: "data"})
	tool := start(t, "unshare", "--mount", "--propagation", "private", "sleep", "600")
	eventually(t, "the tool has its own mounts", func() bool {
		raw, err := os.ReadFile("/proc/" + strconv.Itoa(tool.Process.Pid) + "/comm")
		return err == nil && string(raw) == "sleep\n"
	})
	// Not synced: it is in the memory of the file system that lives on.
	must(t, os.WriteFile(filepath.Join(s.Path("data"), "row"), []byte("row 1"), 0o644))
	if err := s.Close(ctx); err == nil || !strings.Contains(err.Error(), strconv.Itoa(tool.Process.Pid)+" (sleep)") {
		t.Errorf("close: got %v, want an error that names the tool", err)
	}
	s, err = Open(ctx, dir)
	must(t, err)
	if got := read(t, filepath.Join(s.Path("data"), "row")); got != "row 1" {
		t.Errorf("opened again, it reads %q", got)
	}
	if loops, err := loopsNamed(loopName(s.dir, "data")); len(loops) != 1 || err != nil {
		t.Errorf("loop devices on one image: %v (%v), want one", loops, err)
	}
	stop(tool)
	must(t, s.Close(ctx))
	if got := leftovers(t, dir); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	s := newStore(t)
	if _, err := Open(t.Context(), s.dir); !errors.Is(err, ErrInUse) {
		t.Errorf("open: got %v, want ErrInUse", err)
	}
	if err := CleanUp(t.Context(), s.dir); !errors.Is(err, ErrInUse) {
		t.Errorf("clean up: got %v, want ErrInUse", err)
	}
}

// killedProcess leaves a store as a killed lab does: a slow volume, and a hung one with a writer stuck in it.
func killedProcess(t *testing.T) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedStore+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { must(t, Remove(context.Background(), dir)) })
	line := make([]byte, 200)
	n, err := out.Read(line)
	if got := string(line[:n]); got != "ready\n" {
		t.Fatalf("the process to kill printed %q (%v)", got, err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	return dir
}

func TestCleanUpAfterKilledProcess(t *testing.T) {
	dir := killedProcess(t)
	if leftovers(t, dir) == "" {
		t.Fatal("the killed process left nothing, so this proves nothing")
	}
	writer := start(t, "dd", "if=/dev/zero", "of="+dir+"/mounts/hung/data/more", "bs=8k", "count=1", "status=none")
	for range 2 {
		must(t, CleanUp(t.Context(), dir))
	}
	if got := leftovers(t, dir); got != "" {
		t.Errorf("left:\n%s", got)
	}
	if raw := read(t, blkioRoot+"/blkio.throttle.write_iops_device"); strings.Contains(raw, " 7\n") {
		t.Errorf("left a throttle: %s", raw)
	}
	stop(writer)

	s, err := Open(t.Context(), dir)
	must(t, err)
	for _, name := range []string{"healthy", "slow", "hung"} {
		if got := read(t, filepath.Join(s.Path(name), "row")); got != "row 1" {
			t.Errorf("%s: what was synced before the kill reads %q", name, got)
		}
	}
	must(t, s.Close(t.Context()))
	must(t, Remove(t.Context(), dir))
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("files are left (%v)", err)
	}
}

func TestOpenAfterKilledProcess(t *testing.T) {
	dir := killedProcess(t)
	s, err := Open(t.Context(), dir)
	must(t, err)
	if v := find(t, s, "hung"); !v.Faults.Hung || !v.Mounted {
		t.Errorf("hung volume: %+v", v)
	}
	must(t, s.HealAll(t.Context()))
	must(t, writeSynced(filepath.Join(s.Path("hung"), "row"), "row 2"))
	must(t, s.Close(t.Context()))
	if got := leftovers(t, dir); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

func TestStoreMounts(t *testing.T) {
	table := []*mountinfo.Info{
		{Mountpoint: "/", Source: "/dev/vda"},
		{Mountpoint: "/lab/v/mounts", Source: "/dev/vda"},
		{Mountpoint: "/lab/v2/mounts/data", Source: "/dev/loop1"},
		{Mountpoint: "/lab/v/pool", Source: "/dev/loop2"},
		{Mountpoint: "/lab/v/mounts/data", Source: "/dev/loop3"},
		{Mountpoint: "/node/pods/1/data", Source: "/dev/loop3"},
	}
	var got []string
	for _, m := range storeMounts(table, "/lab/v", []string{"/dev/loop2", "/dev/loop3"}) {
		got = append(got, m.Mountpoint)
	}
	want := "/node/pods/1/data /lab/v/mounts/data /lab/v/pool /lab/v/mounts"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}
