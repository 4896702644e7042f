package keys

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be run as another uid: with these variables it places keys once and ends.
func TestMain(m *testing.M) {
	if src := os.Getenv("KEYS_TEST_SRC"); src != "" {
		now, err := time.Parse(time.RFC3339, os.Getenv("KEYS_TEST_NOW"))
		if err == nil {
			_, err = Place(src, os.Getenv("KEYS_TEST_DST"), Database(), now)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func placeEnv(src, dst string, now time.Time) []string {
	return []string{"KEYS_TEST_SRC=" + src, "KEYS_TEST_DST=" + dst, "KEYS_TEST_NOW=" + now.Format(time.RFC3339)}
}

// placeAs runs Place in a process with a uid and gids, as a pod would with runAsUser and fsGroup.
func placeAs(t *testing.T, uid, gid uint32, src, dst string) error {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("run the tests as root: this one changes its uid")
	}
	cmd := exec.Command("/proc/self/exe") // by this name the directory of the test binary need not be open to the uid
	cmd.Env = placeEnv(src, dst, t0)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// openPath lets every uid through to dir, which lies below t.TempDir.
func openPath(t *testing.T, dir string) {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

const nobodyKnown = 1000660000 // an OpenShift uid; no passwd file has it

func TestUIDWithoutPasswdEntry(t *testing.T) {
	bundle := generate(t, oneSite(), t0)
	m := newMount(t, bundle.Shared())
	openPath(t, m.dir)
	if err := filepath.WalkDir(m.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 0, nobodyKnown) // what fsGroup does
	}); err != nil {
		t.Fatal(err)
	}
	dst := t.TempDir()
	openPath(t, dst)
	if err := os.Chmod(dst, os.ModeSetgid|0o777); err != nil { // an emptyDir under fsGroup
		t.Fatal(err)
	}
	if err := placeAs(t, nobodyKnown, nobodyKnown, m.dir, dst); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dst, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != nobodyKnown || info.Mode() != 0o600 {
		t.Errorf("server.key belongs to %d with mode %v, want %d and 0600", stat.Uid, info.Mode(), nobodyKnown)
	}
	// The other pods' process may not read it.
	if err := placeAs(t, nobodyKnown+1, nobodyKnown+1, dst, t.TempDir()); err == nil {
		t.Error("another uid could read the keys in place")
	}
}

func TestUnreadableSource(t *testing.T) {
	m := newMount(t, generate(t, oneSite(), t0).Shared()) // 0440 root:root, fsGroup forgotten
	openPath(t, m.dir)
	dst := t.TempDir()
	openPath(t, dst)
	err := placeAs(t, 26, 26, m.dir, dst)
	for _, want := range []string{"uid 26", "permission denied", "fsGroup"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a sentence with %q", err, want)
		}
	}
	if entries, _ := os.ReadDir(dst); len(entries) != 0 {
		t.Errorf("something was placed: %v", entries)
	}
}
