package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pgspan/pgspan/images/build/engine"
)

// links returns a file's inode, and whether it may have other names.
func links(info fs.FileInfo) (inode uint64, linked bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Ino, stat.Nlink > 1
}

// ExportRoot lays an image's root file system down for unit tests, which run its servers by chroot, and points the link
// "<name>" at it. Root file systems that no test uses any more are removed. Owners and modes are kept, which takes root.
func (b *Builder) ExportRoot(ctx context.Context, built Built) (string, error) {
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("run as root: a root file system holds files of several owners")
	}
	id, err := engine.ID(ctx, b.Engine, built.Content)
	if err != nil {
		return "", err
	}
	if id == "" {
		return "", fmt.Errorf("there is no image %s", built.Content)
	}
	name := built.Name + "-" + id[:12]
	dir := filepath.Join(b.RootFS, name)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := b.copyRoot(ctx, built.Content, dir); err != nil {
			return "", err
		}
		b.Say("%s: root file system for unit tests in %s", built.Name, dir)
	} else if err != nil {
		return "", fmt.Errorf("look for the root file system: %w", err)
	}
	if err := point(filepath.Join(b.RootFS, built.Name), name); err != nil {
		return "", err
	}
	return dir, b.removeOldRoots(built.Name, name)
}

// copyRoot copies beside and renames, so that a root file system is there whole or not at all.
func (b *Builder) copyRoot(ctx context.Context, ref, dir string) error {
	part := filepath.Join(b.RootFS, "."+filepath.Base(dir)+".part")
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("remove an unfinished root file system: %w", err)
	}
	if err := os.MkdirAll(b.RootFS, 0o755); err != nil {
		return fmt.Errorf("make the directory of root file systems: %w", err)
	}
	err := b.Engine.WithRoot(ctx, ref, func(root string) error {
		if out, err := exec.CommandContext(ctx, "cp", "--archive", root, part).CombinedOutput(); err != nil {
			return fmt.Errorf("copy the root file system: %w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := devices(filepath.Join(part, "dev")); err != nil {
		return fmt.Errorf("make device files: %w", err)
	}
	if err := os.Rename(part, dir); err != nil {
		return fmt.Errorf("keep the root file system: %w", err)
	}
	return nil
}

// devices makes what a container engine would mount: the files that every program expects below /dev.
func devices(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "shm"), 0o755); err != nil {
		return err
	}
	for name, minor := range map[string]int{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		path := filepath.Join(dir, name)
		if err := syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|minor); err != nil && !errors.Is(err, os.ErrExist) {
			return &os.PathError{Op: "mknod", Path: path, Err: err}
		}
		// Mknod's mode has been through the umask.
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := os.Symlink("/proc/self/fd"+target, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// point makes or moves a symbolic link in one step.
func point(link, target string) error {
	part := link + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove an unfinished link: %w", err)
	}
	if err := os.Symlink(target, part); err != nil {
		return fmt.Errorf("link the root file system: %w", err)
	}
	if err := os.Rename(part, link); err != nil {
		return fmt.Errorf("link the root file system: %w", err)
	}
	return nil
}

// removeOldRoots removes other root file systems of an image. Tests hold a shared lock on the one they use.
func (b *Builder) removeOldRoots(image, keep string) error {
	entries, err := os.ReadDir(b.RootFS)
	if err != nil {
		return fmt.Errorf("list root file systems: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || entry.Name() == keep || !strings.HasPrefix(entry.Name(), image+"-") {
			continue
		}
		if err := removeUnused(filepath.Join(b.RootFS, entry.Name())); err != nil {
			return fmt.Errorf("remove an old root file system: %w", err)
		}
	}
	return nil
}

func removeUnused(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil
		}
		return err
	}
	return os.RemoveAll(dir)
}
