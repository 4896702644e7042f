package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// onDisk puts a member's volume on a file system of its own, of so many MiB, before its first pod.
func (m *member) onDisk(t *testing.T, mib int) (mounted string) {
	t.Helper()
	mounted = m.root.Outside(m.volume)
	image := filepath.Join(t.TempDir(), "volume")
	command := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	command("truncate", "-s", fmt.Sprintf("%dM", mib), image)
	command("mkfs.ext4", "-q", "-F", "-m", "0", image)
	command("mount", "-o", "loop", image, mounted)
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", mounted).CombinedOutput(); err != nil {
			t.Logf("umount: %v: %s", err, out)
		}
	})
	if err := os.RemoveAll(filepath.Join(mounted, "lost+found")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(mounted, pgtest.UID, pgtest.GID); err != nil {
		t.Fatal(err)
	}
	return mounted
}

// fill leaves no room on a volume, and returns what makes it again.
func fill(t *testing.T, mounted string) (empty func()) {
	t.Helper()
	name := filepath.Join(mounted, "filler")
	_ = exec.Command("dd", "if=/dev/zero", "of="+name, "bs=1M").Run() // ends where the room does
	_ = exec.Command("dd", "if=/dev/zero", "of="+name+"2", "bs=4k").Run()
	return func() { _ = os.Remove(name); _ = os.Remove(name + "2") }
}

// Volumes that are full, and one that hangs. The steps build on each other.
func TestUnwellVolume(t *testing.T) {
	s := newSiteApart(t, 17)
	s.failover = "promoteTimeout: 30s, hangTimeout: 10s"
	a, b := s.member(release+"-primary-0", "primary"), s.member(release+"-replica-0", "replica")
	disks := map[*member]string{}
	for _, m := range []*member{a, b} {
		disks[m] = m.onDisk(t, 700)
	}
	a.create()
	a.waitStatus("/primary", 200)
	b.create()
	b.waitStatus("/replica?lag=1MB", 200)
	if _, err := a.sql("CREATE TABLE rows (id int)"); err != nil {
		t.Fatal(err)
	}
	rows := 0
	whole := func(t *testing.T, l *member) {
		t.Helper()
		rows++
		l.waitFor("a row is written", func() bool {
			_, err := l.sql(fmt.Sprintf("INSERT INTO rows VALUES (%d)", rows))
			return err == nil
		})
		for _, m := range []*member{a, b} {
			m.waitSQL("SELECT count(*) || ' ' || max(id) FROM rows", fmt.Sprintf("%d %d", rows, rows))
		}
	}
	step := func(name string, f func(t *testing.T)) {
		t.Run(name, f)
		if t.Failed() {
			t.FailNow()
		}
	}
	epoch := func() string {
		_, rest, _ := strings.Cut(s.record(), `"epoch":`)
		e, _, _ := strings.Cut(rest, "}")
		return e
	}
	whole(t, a)
	step("full_volume_hands_over_to_one_with_room", func(t *testing.T) {
		began := time.Now()
		empty := fill(t, disks[a])
		b.waitStatus("/primary", 200)
		t.Logf("handed over after %v", time.Since(began))
		if !strings.Contains(a.keeper.Stderr(), "its volume is full") {
			t.Error("the reason is not told")
		}
		empty()
		a.waitStatus("/replica?lag=1MB", 200)
		whole(t, b)
	})
	step("all_volumes_full_reads_go_on_and_nobody_is_chosen", func(t *testing.T) {
		emptyA := fill(t, disks[a])
		a.waitFor("it knows", func() bool {
			_, body := a.get("/metrics")
			return strings.Contains(body, "pgspan_volume_free_bytes 0") || volumeFree(a) < 32<<20
		})
		time.Sleep(2 * time.Second) // its keeper has looked
		emptyB := fill(t, disks[b])
		b.waitFor("a person is told", func() bool { return strings.Contains(b.reason(), "read-only until there is room") })
		b.waitSQL("SELECT pg_is_in_recovery() || ' ' || count(*) FROM rows", fmt.Sprintf("true %d", rows))
		before := epoch()
		for range 20 {
			if _, err := b.sql("SELECT count(*) FROM rows"); err != nil {
				t.Errorf("a read failed: %v", err)
			}
			time.Sleep(time.Second) // an interval of observation
		}
		if after := epoch(); after != before {
			t.Errorf("epoch %s, before %s", after, before)
		}
		emptyB()
		b.waitStatus("/primary", 200)
		emptyA()
		a.waitStatus("/replica?lag=1MB", 200)
		whole(t, b)
	})
	step("volume_that_hangs_gives_the_right_up", func(t *testing.T) {
		// The other one gave the right up when its volume was full; a new process of its keeper has forgotten that.
		a.keeper.Kill()
		a.startKeeper()
		a.waitStatus("/replica?lag=1MB", 200)
		time.Sleep(6 * time.Second) // its guard has written to its volume again
		if out, err := exec.Command("fsfreeze", "-f", disks[b]).CombinedOutput(); err != nil {
			t.Fatalf("freeze: %v: %s", err, out)
		}
		thaw := func() { _ = exec.Command("fsfreeze", "-u", disks[b]).Run() }
		defer thaw()
		began := time.Now()
		go func() { _, _ = b.sql("INSERT INTO rows VALUES (-1)") }() // it never commits
		a.waitStatus("/primary", 200)
		took := time.Since(began)
		t.Logf("another member leads after %v", took)
		if took < 10*time.Second || took > 40*time.Second || !strings.Contains(b.keeper.Stderr(), "has not finished a small write for 10s") {
			t.Errorf("another member leads after %v, want 10s to 40s, and the reason", took)
		}
		thaw()
		b.waitStatus("/replica?lag=1MB", 200)
		if out, err := a.sql("DELETE FROM rows WHERE id = -1"); err != nil {
			t.Error(out, err)
		}
		whole(t, a)
	})
}

// volumeFree is what a member's keeper says is free on its volume.
func volumeFree(m *member) int64 {
	_, body := m.get("/metrics")
	for _, line := range strings.Split(body, "\n") {
		var free float64
		if _, err := fmt.Sscanf(line, "pgspan_volume_free_bytes %g", &free); err == nil {
			return int64(free)
		}
	}
	return 1 << 62
}
