package pgtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// WriteFile lays down a file owned by the images' user. path is an inside path; parent directories are made.
func (r *Root) WriteFile(t testing.TB, path string, content []byte, mode os.FileMode) {
	t.Helper()
	outside := r.Outside(path)
	if err := r.mkdirAll(filepath.Dir(path)); err != nil {
		t.Fatalf("make the directory of %s: %v", path, err)
	}
	if err := os.WriteFile(outside, content, mode); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	// WriteFile leaves the mode of a file that was there, and the umask has taken its share of a new one.
	if err := os.Chmod(outside, mode); err != nil {
		t.Fatalf("set the mode of %s: %v", path, err)
	}
	if err := os.Chown(outside, UID, GID); err != nil {
		t.Fatalf("give %s to the server's user: %v", path, err)
	}
}

// mkdirAll makes the missing directories of an inside path, each owned by the images' user.
func (r *Root) mkdirAll(path string) error {
	outside := r.Outside(path)
	if _, err := os.Stat(outside); err == nil {
		return nil
	}
	if err := r.mkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(outside, 0o700); err != nil {
		return err
	}
	return os.Chown(outside, UID, GID)
}

// ReadFile reads a file by its inside path.
func (r *Root) ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(r.Outside(path))
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return content
}

// Install copies a static program into the root file system and returns its inside path. See Build.
func (r *Root) Install(t testing.TB, outside string) string {
	t.Helper()
	dir, err := os.MkdirTemp(r.Outside(r.run), "b")
	if err != nil {
		t.Fatalf("make a directory for a program: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("open the directory of a program: %v", err)
	}
	target := filepath.Join(dir, filepath.Base(outside))
	// A program of its own writes the file. Were it open for writing here, a process that is forked meanwhile would hold it open until it
	// becomes another program, and the kernel refuses to run a file that somebody writes (golang.org/issue/22315).
	if out, err := exec.CommandContext(t.Context(), "install", "--mode=0755", outside, target).CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v\n%s", outside, err, out)
	}
	return r.Inside(target)
}
