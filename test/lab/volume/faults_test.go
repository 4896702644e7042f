package volume

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFill(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	create(t, s, Spec{Name: "data", Bytes: 1 << 30})
	row := filepath.Join(s.Path("data"), "row")

	must(t, s.Fill(ctx, "data", 80))
	v := find(t, s, "data")
	if percent := v.Used * 100 / v.Size; percent != 79 && percent != 80 {
		t.Errorf("filled to %d%%, want 80%%", percent)
	}
	if err := os.WriteFile(row, []byte("row 1"), 0o644); err != nil {
		t.Errorf("at 80%%: %v", err)
	}
	must(t, s.Fill(ctx, "data", 100))
	if err := os.WriteFile(row+"2", make([]byte, mib), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("at 100%%: got %v, want ENOSPC", err)
	}
	if _, err := os.Stat(filepath.Join(s.Path("data"), fillFile)); !os.IsNotExist(err) {
		t.Errorf("the pod sees the file that takes the space (%v)", err)
	}
	must(t, s.Heal(ctx, "data"))
	if err := os.WriteFile(row+"2", make([]byte, mib), 0o644); err != nil {
		t.Errorf("after healing: %v", err)
	}
	if v := find(t, s, "data"); v.Faults != (Faults{}) || v.Used*100/v.Size > 10 {
		t.Errorf("after healing: %+v", v)
	}
}

// syncedWrites times dd in a blkio cgroup, as a pod's fsync is.
func syncedWrites(t *testing.T, group, path string, count int) time.Duration {
	t.Helper()
	script := `echo $$ > "$1/cgroup.procs" && exec dd if=/dev/zero of="$2" bs=8k count="$3" conv=notrunc oflag=direct`
	before := time.Now()
	out, err := exec.Command("sh", "-c", script, "sh", group, path, fmt.Sprint(count)).CombinedOutput()
	if err != nil {
		t.Fatalf("dd: %v: %s", err, out)
	}
	return time.Since(before)
}

func newGroup(t *testing.T, name string) string {
	t.Helper()
	group := filepath.Join(blkioRoot, fmt.Sprintf("lab-volume-test-%d-%s", os.Getpid(), name))
	must(t, os.MkdirAll(group, 0o755))
	t.Cleanup(func() { _ = os.Remove(group) })
	return group
}

// isFast asks for one quick turn of several: the machine's disk may be busy with other things, and a limit of 20 writes
// a second never lets 30 of them through in one.
func isFast(t *testing.T, what, group, path string) {
	t.Helper()
	eventually(t, what+": 30 writes within a second", func() bool { return syncedWrites(t, group, path, 30) < time.Second })
}

func TestSlow(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	create(t, s, Spec{Name: "data"})
	create(t, s, Spec{Name: "other"})
	file := filepath.Join(s.Path("data"), "wal")
	must(t, os.WriteFile(file, make([]byte, mib), 0o644))
	before := newGroup(t, "before")

	must(t, s.Slow(ctx, "data", Limit{IOPS: 20}))
	after := newGroup(t, "after")
	eventually(t, "a group made later gets the limit", func() bool {
		raw, err := os.ReadFile(after + "/blkio.throttle.write_iops_device")
		return err == nil && strings.Contains(string(raw), " 20")
	})
	// 30 writes at 20 a second: 1.5 s, less the first that the kernel lets pass.
	for name, group := range map[string]string{"root": blkioRoot, "group_there_before": before, "group_made_later": after} {
		if took := syncedWrites(t, group, file, 30); took < 1300*time.Millisecond {
			t.Errorf("%s: 30 writes at 20 a second took %s, want about 1.5s", name, took)
		}
	}
	isFast(t, "another volume", before, filepath.Join(s.Path("other"), "wal"))

	must(t, s.Slow(ctx, "data", Limit{BytesPerSecond: 100_000}))
	if took := syncedWrites(t, before, file, 25); took < 1500*time.Millisecond {
		t.Errorf("200 kB at 100 kB a second took %s, want about 2s", took)
	}
	must(t, s.HealAll(ctx))
	for name, group := range map[string]string{"root": blkioRoot, "group_there_before": before, "group_made_later": after} {
		isFast(t, "healed, in "+name, group, file)
	}
}

func TestHang(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	create(t, s, Spec{Name: "data"})
	file := filepath.Join(s.Path("data"), "wal")
	must(t, writeSynced(file, strings.Repeat("x", mib)))
	must(t, s.Slow(ctx, "data", Limit{IOPS: 5}))
	must(t, s.Hang(ctx, "data"))

	ended := make(chan string, 2)
	for _, args := range [][]string{{"if=/dev/zero", "of=" + file, "conv=notrunc"}, {"if=" + file, "of=/dev/null", "iflag=direct"}} {
		cmd := start(t, "dd", append(args, "bs=8k", "count=1", "status=none")...)
		go func() {
			err := cmd.Wait()
			ended <- fmt.Sprint(args[0], ": ", err)
		}()
	}
	select {
	case who := <-ended:
		t.Errorf("came back from a hung disk: %s", who)
	case <-time.After(1500 * time.Millisecond):
	}
	for what, err := range map[string]error{
		"grow": second(s.Grow(ctx, "data", 1<<30)), "fill": s.Fill(ctx, "data", 50), "slow": s.Slow(ctx, "data", Limit{IOPS: 1}),
	} {
		if err == nil || !strings.Contains(err.Error(), "hangs") {
			t.Errorf("%s on a hung disk: got %v, want a refusal", what, err)
		}
	}
	must(t, s.Heal(ctx, "data"))
	for range 2 {
		select {
		case got := <-ended:
			if !strings.HasSuffix(got, "<nil>") {
				t.Error(got)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("healed, and a process still hangs")
		}
	}
}

func second(_ int64, err error) error { return err }

func TestDeleteOfHungVolume(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Name: "data"})
	must(t, s.Hang(t.Context(), "data"))
	must(t, s.Delete(t.Context(), "data"))
}

func TestFaultsRefused(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	create(t, s, Spec{Name: "data"})
	create(t, s, Spec{Name: "idle", Exclusive: true})
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"more_than_all":           {s.Fill(ctx, "data", 101), "not between"},
		"nothing":                 {s.Fill(ctx, "data", 0), "not between"},
		"no_limit":                {s.Slow(ctx, "data", Limit{}), "give operations or bytes"},
		"no_such_volume":          {s.Hang(ctx, "nix"), ErrNotFound.Error()},
		"volume_attached_nowhere": {s.Hang(ctx, "idle"), "attached to no node"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, c.err, c.want)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]Limit{
		"20iops":         {IOPS: 20},
		"2MBps":          {BytesPerSecond: 2_000_000},
		"64KiBps":        {BytesPerSecond: 65536},
		"500Bps":         {BytesPerSecond: 500},
		"20iops, 10kBps": {IOPS: 20, BytesPerSecond: 10_000},
	} {
		if got, err := ParseLimit(text); got != want || err != nil {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "20", "iops", "0iops", "-1iops", "2mbit", "MBps", "0MBps", "1.5MBps", "20iops,"} {
		if got, err := ParseLimit(text); err == nil {
			t.Errorf("%q: got %+v, want a refusal", text, got)
		}
	}
}
