package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

// lastHolderWait is how long a mount namespace that was just killed may take to let go of its mounts.
const lastHolderWait = 5 * time.Second

// CleanUp unmounts and detaches everything a store in dir has on this machine, also after its process was killed,
// and undoes its faults. It may be called at any time and any number of times; the nodes should be gone first. The
// files stay. While a living process has the store open it is [ErrInUse].
func CleanUp(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	dir, err := canonical(dir)
	if err != nil {
		return err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	return release(ctx, dir)
}

// Remove cleans up and deletes the volumes for good.
func Remove(ctx context.Context, dir string) error {
	if err := CleanUp(ctx, dir); err != nil {
		return err
	}
	dir, err := canonical(dir)
	if err != nil {
		return err
	}
	left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("read the mount table: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("remove %s: %s is mounted there", dir, left[0].Mountpoint)
	}
	for _, path := range []string{mountsDir(dir), poolDir(dir), poolImage(dir), poolImage(dir) + ".new", dir + "/lock"} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove the volumes: %w", err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the volumes: %w", err)
	}
	return nil
}

// release does the work of CleanUp for who holds the lock. The volumes go before the pool they lie in.
func release(ctx context.Context, dir string) error {
	loops, err := storeLoops(dir)
	if err != nil {
		return err
	}
	if err := unthrottle(loops); err != nil {
		return err
	}
	table, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("read the mount table: %w", err)
	}
	pool, err := loopsNamed(loopName(dir, poolLoop))
	if err != nil {
		return err
	}
	isPool := func(m *mountinfo.Info) bool { return slices.Contains(pool, m.Source) }
	mounts := storeMounts(table, dir, loops)
	var all []error
	for _, m := range mounts {
		if !isPool(m) && slices.Contains(loops, m.Source) {
			all = append(all, thaw(m.Mountpoint))
		}
	}
	for _, m := range mounts {
		if !isPool(m) {
			all = append(all, unmount(m.Mountpoint))
		}
	}
	volumes := slices.DeleteFunc(loops, func(device string) bool { return slices.Contains(pool, device) })
	held := detachAll(ctx, volumes, lastHolderWait)
	wait := lastHolderWait
	if held != nil {
		wait = 0 // the pool is held by the volumes in it
	}
	for _, m := range mounts {
		if isPool(m) {
			all = append(all, unmount(m.Mountpoint))
		}
	}
	return errors.Join(append(all, held, detachAll(ctx, pool, wait))...)
}

func unthrottle(loops []string) error {
	numbers := map[string]bool{}
	for _, device := range loops {
		number, err := deviceNumber(device)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		numbers[number] = true
	}
	return clearThrottles(blkioRoot, numbers)
}

// detachAll frees the loop devices and says which are still held by somebody's mounts.
func detachAll(ctx context.Context, devices []string, wait time.Duration) error {
	var held []string
	free, err := waitFor(ctx, wait, func() (bool, error) {
		held = held[:0]
		for _, device := range devices {
			gone, err := detachLoop(ctx, device)
			if err != nil {
				return false, err
			}
			if !gone {
				held = append(held, device)
			}
		}
		return len(held) == 0, nil
	})
	if err == nil && !free {
		err = fmt.Errorf("%s: still mounted in another mount namespace, by %s", strings.Join(held, ", "), holders(held))
	}
	return err
}

// holders names the processes that have one of the devices mounted. A tool that gave itself a copy of the machine's
// mounts counts too; the devices come free by themselves when it ends. One with a root directory of its own may have
// such a copy and does not show it, so those are named when no other is found.
func holders(devices []string) string {
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		return "processes that cannot be listed"
	}
	var found, hidden []string
	for _, table := range tables {
		process := filepath.Dir(table)
		raw, err := os.ReadFile(table)
		if err != nil {
			continue // ended meanwhile
		}
		comm, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			continue
		}
		name := filepath.Base(process) + " (" + strings.TrimSpace(string(comm)) + ")"
		if slices.ContainsFunc(devices, func(device string) bool { return strings.Contains(string(raw), " "+device+" ") }) {
			found = append(found, name)
		}
		if root, err := os.Readlink(filepath.Join(process, "root")); err == nil && root != "/" {
			hidden = append(hidden, name)
		}
	}
	switch {
	case len(found) > 0:
		return strings.Join(found, ", ")
	case len(hidden) > 0:
		return "a process that does not show it, perhaps " + strings.Join(hidden, ", ")
	}
	return "a process that is ending"
}
