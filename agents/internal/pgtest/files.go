package pgtest

import (
	"errors"
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
	// Renamed into place, as a mounted ConfigMap or Secret changes: an agent that looks meanwhile sees the old file or the new one, never half.
	beside, err := os.CreateTemp(filepath.Dir(outside), ".new-*")
	if err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	_, err = beside.Write(content)
	if err := errors.Join(err, beside.Chmod(mode), beside.Chown(UID, GID), beside.Close(), os.Rename(beside.Name(), outside)); err != nil {
		t.Fatalf("write %s: %v", path, err)
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
