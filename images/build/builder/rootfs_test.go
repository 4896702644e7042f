package builder

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRootFSIsReplacedUnlessATestUsesIt(t *testing.T) {
	b, unique := open(t, "v1")
	image := data(t, b, unique, "one")
	export := func() string {
		t.Helper()
		dir, err := b.ExportRoot(t.Context(), build(t, b, image)[0])
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	gone := func(dir string) bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	}

	first := export()
	if again := export(); again != first {
		t.Errorf("unchanged image: got %s, want %s", again, first)
	}
	info, err := os.Stat(filepath.Join(first, "dev/null"))
	if err != nil || info.Mode() != os.ModeDevice|os.ModeCharDevice|0o666 {
		t.Errorf("dev/null: got %v, %v; want a device that all may use", info, err)
	}

	use, err := os.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(use.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	data(t, b, unique, "two")
	second := export()
	if gone(first) {
		t.Errorf("a root file system in use was removed")
	}
	content, err := os.ReadFile(filepath.Join(b.RootFS, unique, "data"))
	if err != nil || string(content) != "two" {
		t.Errorf("through the link: got %q, %v; want two", content, err)
	}
	use.Close()
	export()
	if !gone(first) || gone(second) {
		t.Errorf("first gone: %v, second gone: %v; want the first alone", gone(first), gone(second))
	}
}
