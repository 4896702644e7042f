package volume

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestVolumeSize(t *testing.T) {
	s := newStore(t)
	cases := []struct {
		name     string
		ask      int64
		want     int64
		growths  []int64
		wantLast int64
	}{
		{name: "less-than-xfs-takes", ask: 1, want: 236 * mib, growths: []int64{300 * mib}, wantLast: 300 * mib},
		{name: "odd-number-of-bytes", ask: 300*mib + 1, want: 301 * mib, growths: []int64{777*mib + 5}, wantLast: 778 * mib},
		{name: "one-gib", ask: 1 << 30, want: 1 << 30, growths: []int64{1<<30 + mib, 2 << 30, 5 << 30}, wantLast: 5 << 30},
		{name: "shrinking-is-refused-silently", ask: 1 << 30, want: 1 << 30, growths: []int64{1 << 29}, wantLast: 1 << 30},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.Create(t.Context(), Spec{Name: c.name, Bytes: c.ask})
			must(t, err)
			shown, _ := df(t, s.Path(c.name))
			if got != c.want || shown != c.want {
				t.Errorf("created with %d bytes, df shows %d, want %d", got, shown, c.want)
			}
			for _, bytes := range c.growths {
				got, err = s.Grow(t.Context(), c.name, bytes)
				must(t, err)
			}
			shown, _ = df(t, s.Path(c.name))
			if got != c.wantLast || shown != c.wantLast {
				t.Errorf("grown to %d bytes, df shows %d, want %d", got, shown, c.wantLast)
			}
			must(t, s.Delete(t.Context(), c.name))
		})
	}
}

func TestGrowthIsQuick(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Name: "data", Bytes: 1 << 30})
	// The best of several: the machine has other things to do too.
	best := time.Hour
	for size := int64(2 << 30); size <= 9<<30; size += 1 << 30 {
		before := time.Now()
		_, err := s.Grow(t.Context(), "data", size)
		must(t, err)
		best = min(best, time.Since(before))
	}
	t.Logf("grown in %s", best)
	if best > 10*time.Millisecond {
		t.Errorf("growth took %s, want 10ms at most", best)
	}
}

func TestFullVolumeRefusesWrites(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Name: "data"})
	f, err := os.Create(filepath.Join(s.Path("data"), "big"))
	must(t, err)
	defer f.Close()
	var written int64
	for chunk := make([]byte, 4*mib); err == nil; {
		var n int
		n, err = f.Write(chunk)
		written += int64(n)
		if written > LeastBytes {
			t.Fatalf("wrote %d bytes to a volume of %d", written, int64(LeastBytes))
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if written < LeastBytes*8/10 {
		t.Errorf("full after %d of %d bytes", written, int64(LeastBytes))
	}
}

func TestCreateRefuses(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Name: "data"})
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"name_that_leaves_the_folder": {Spec{Name: "../data", Bytes: LeastBytes}, "no name for a volume"},
		"no_name":                     {Spec{Bytes: LeastBytes}, "no name for a volume"},
		"exists_with_another_size":    {Spec{Name: "data", Bytes: 1 << 30}, "it exists with"},
		"larger_than_the_pool":        {Spec{Name: "huge", Bytes: 1 << 50}, "the pool has"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Create(t.Context(), c.spec)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if got, err := s.Create(t.Context(), Spec{Name: "data", Bytes: LeastBytes}); got != LeastBytes || err != nil {
		t.Errorf("asking again for the same volume: got %d, %v", got, err)
	}
}

func TestCreationCutShort(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	create(t, s, Spec{Name: "data"})
	must(t, writeSynced(filepath.Join(s.Path("data"), "old"), "old"))
	// Killed just before the record: image, mount and loop device are there.
	must(t, os.Remove(s.volumes.record("data")))
	if _, err := s.Create(ctx, Spec{Name: "data", Bytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	if size, _ := df(t, s.Path("data")); size != 1<<30 {
		t.Errorf("df shows %d, want %d", size, 1<<30)
	}
	if _, err := os.Stat(filepath.Join(s.Path("data"), "old")); !os.IsNotExist(err) {
		t.Errorf("the new volume has the old one's file (%v)", err)
	}
}

func TestDelete(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Name: "data"})
	device := find(t, s, "data").Device
	must(t, s.Delete(t.Context(), "data"))
	for _, path := range []string{s.mountpoint("data"), s.volumes.image("data"), s.volumes.record("data")} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", path, err)
		}
	}
	if loopInUse(device) {
		t.Errorf("%s is still in use", device)
	}
	if err := s.Delete(t.Context(), "data"); err != nil {
		t.Errorf("deleting again: %v", err)
	}
}

func TestSnapshotAndClone(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	create(t, s, Spec{Name: "data"})
	row := filepath.Join(s.Path("data"), "row")
	must(t, s.Fill(ctx, "data", 90))
	must(t, os.WriteFile(row, []byte("row 1"), 0o644))
	must(t, s.Snapshot(ctx, "data", "monday"))
	must(t, writeSynced(row, "row 2"))
	if err := s.Snapshot(ctx, "data", "monday"); err == nil {
		t.Error("a second snapshot took the first one's name")
	}

	_, err := s.Clone(ctx, "monday", Spec{Name: "copy", Bytes: 1 << 30})
	must(t, err)
	if got, want := read(t, filepath.Join(s.Path("copy"), "row")), "row 1"; got != want {
		t.Errorf("clone has %q, want %q", got, want)
	}
	if size, free := df(t, s.Path("copy")); size != 1<<30 || free < 900*mib {
		t.Errorf("clone shows %d bytes, %d free, want %d, most of it free", size, free, 1<<30)
	}
	if got, want := read(t, row), "row 2"; got != want {
		t.Errorf("origin has %q, want %q", got, want)
	}
	if _, err := s.Clone(ctx, "tuesday", Spec{Name: "none", Bytes: 1 << 30}); !errors.Is(err, ErrNotFound) {
		t.Errorf("clone of no snapshot: got %v, want ErrNotFound", err)
	}
	must(t, s.Delete(ctx, "data"))
	must(t, s.DeleteSnapshot("monday"))
	must(t, writeSynced(filepath.Join(s.Path("copy"), "row"), "row 3"))
}

func TestFind(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Name: "a1", Labels: map[string]string{"site": "a", "claim": "data"}})
	create(t, s, Spec{Name: "b1", Labels: map[string]string{"site": "b", "claim": "data"}})
	create(t, s, Spec{Name: "none"})
	for name, c := range map[string]struct {
		labels map[string]string
		want   string
	}{
		"claim_of_one_site":       {map[string]string{"site": "b", "claim": "data"}, "b1"},
		"claim_of_every_site":     {map[string]string{"claim": "data"}, "a1 b1"},
		"claim_of_unknown_site":   {map[string]string{"site": "c", "claim": "data"}, ""},
		"label_no_volume_carries": {map[string]string{"owner": ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := s.Find(c.labels)
			must(t, err)
			var names []string
			for _, v := range found {
				names = append(names, v.Name)
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
