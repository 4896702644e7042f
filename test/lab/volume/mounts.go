package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Prepare makes dir a shared mount, so that a volume mounted later appears in nodes that already run, and one that is
// unmounted goes from them. It must be done before the first node starts: a node's mount namespace follows only what
// was shared when it was made. It is done already by [Open], and may be done again.
func Prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("prepare %s: %w", dir, err)
	}
	dir, err := canonical(dir)
	if err != nil {
		return err
	}
	entry, err := mountAt(dir)
	if err != nil {
		return err
	}
	if entry == nil {
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s onto itself: %w", dir, err)
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share the mounts below %s: %w", dir, err)
	}
	return nil
}

// canonical is the one spelling of dir that the kernel's tables use.
func canonical(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("name the store's directory: %w", err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, os.ErrNotExist) {
		return abs, nil
	}
	if err != nil {
		return "", fmt.Errorf("name the store's directory: %w", err)
	}
	return real, nil
}

func mountsDir(dir string) string { return filepath.Join(dir, "mounts") }
func poolDir(dir string) string   { return filepath.Join(dir, "pool") }
func poolImage(dir string) string { return filepath.Join(dir, "pool.xfs") }

// mountAt returns the topmost mount at path, nil when nothing is mounted there.
func mountAt(path string) (*mountinfo.Info, error) {
	found, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != path, false })
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found[len(found)-1], nil
}

// storeMounts picks, newest first, what a store in dir with these loop devices has mounted: everything below dir, and
// every other place its devices are mounted at.
func storeMounts(table []*mountinfo.Info, dir string, loops []string) []*mountinfo.Info {
	own := make(map[string]bool, len(loops))
	for _, device := range loops {
		own[device] = true
	}
	var picked []*mountinfo.Info
	for i := len(table) - 1; i >= 0; i-- {
		m := table[i]
		if own[m.Source] || m.Mountpoint == dir || strings.HasPrefix(m.Mountpoint, dir+"/") {
			picked = append(picked, m)
		}
	}
	return picked
}

// unmount takes away what is mounted at path. What is in use goes from the tree at once and from the kernel when the
// last user has let go. Nothing mounted is no error.
func unmount(path string) error {
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}
