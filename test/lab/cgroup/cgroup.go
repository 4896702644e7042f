// Package cgroup keeps every process of the lab under one control group per cgroup v1 hierarchy: to share the CPU
// between hosts, to freeze a host, and to find every process again after whoever started it was killed.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	mount = "/sys/fs/cgroup"
	// Root is the lab's group in each hierarchy.
	Root = "pgspan-lab"
	// systemGroup holds a host's own processes, beside its pods.
	systemGroup = "system"
)

// Path is the group of a host, as the kubelet's cgroupRoot wants it.
func Path(host string) string { return "/" + Root + "/" + host }

// hierarchies are the cgroup v1 hierarchies of the machine, without the second names that link to the same one.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
		return nil, errors.New("this machine has the one hierarchy of cgroup v2 at " + mount +
			", and the lab needs those of v1: boot it with systemd.unified_cgroup_hierarchy=0 on the kernel's command line")
	}
	entries, err := os.ReadDir(mount)
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	var found []string
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "unified" {
			continue
		}
		found = append(found, filepath.Join(mount, e.Name()))
	}
	if len(found) == 0 {
		return nil, errors.New("the lab needs cgroup v1 hierarchies below " + mount)
	}
	return found, nil
}

// Make creates a host's groups. Shares is its weight on the CPU, 1024 being usual.
func Make(host string, shares int) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := h
		for _, part := range []string{Root, host, systemGroup} {
			if err := makeGroup(filepath.Join(dir, part), dir); err != nil {
				return err
			}
			dir = filepath.Join(dir, part)
		}
	}
	file := filepath.Join(mount, "cpu", Root, host, "cpu.shares")
	return write(file, strconv.Itoa(shares))
}

// makeGroup makes one group. A cpuset group is unusable until it is told its CPUs and memory nodes, and does not
// inherit them.
func makeGroup(dir, parent string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	if !strings.HasPrefix(dir, filepath.Join(mount, "cpuset")+"/") {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return fmt.Errorf("read parent cpuset: %w", err)
		}
		if err := write(filepath.Join(dir, file), strings.TrimSpace(string(value))); err != nil {
			return err
		}
	}
	return nil
}

// Enter moves the calling process into the host's own group of each hierarchy.
func Enter(host string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := write(filepath.Join(h, Root, host, systemGroup, "cgroup.procs"), strconv.Itoa(os.Getpid())); err != nil {
			return err
		}
	}
	return nil
}

// Freeze stops every process of the host, pods included, where it stands.
func Freeze(ctx context.Context, host string) error { return setFreezer(ctx, host, "FROZEN") }

// Thaw lets a frozen host go on.
func Thaw(ctx context.Context, host string) error { return setFreezer(ctx, host, "THAWED") }

func setFreezer(ctx context.Context, host, state string) error {
	file := filepath.Join(mount, "freezer", Root, host, "freezer.state")
	for {
		// Writing again while the state is FREEZING makes the kernel look at the tasks it has not caught yet.
		if err := write(file, state); err != nil {
			return err
		}
		now, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read freezer state: %w", err)
		}
		if strings.TrimSpace(string(now)) == state {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("host %s stays %s: %w", host, strings.TrimSpace(string(now)), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Frozen says whether a host is frozen.
func Frozen(host string) (bool, error) {
	now, err := os.ReadFile(filepath.Join(mount, "freezer", Root, host, "freezer.state"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read freezer state: %w", err)
	}
	return strings.TrimSpace(string(now)) != "THAWED", nil
}

// Processes lists the processes in the host's groups, or in all of the lab's when host is empty.
func Processes(host string) ([]int, error) {
	var pids []int
	top := filepath.Join(mount, "freezer", Root, host)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return ignoreMissing(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return ignoreMissing(err)
		}
		for _, field := range strings.Fields(string(data)) {
			// Processes of PID namespaces we cannot see are listed as 0.
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the lab's processes: %w", err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// ignoreMissing forgives groups that vanish while we walk: ENODEV and ENOENT both mean that.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	return err
}

// Kill ends every process of the host (of the lab when host is empty), except the caller, and waits until they are
// gone. It thaws first: a frozen process does not even die.
func Kill(ctx context.Context, host string) error {
	for {
		if err := thawAll(host); err != nil {
			return err
		}
		pids, err := Processes(host)
		if err != nil {
			return err
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() })
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes %v do not die: %w", pids, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func thawAll(host string) error {
	top := filepath.Join(mount, "freezer", Root, host)
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "freezer.state" {
			return ignoreMissing(err)
		}
		return ignoreMissing(write(path, "THAWED"))
	})
}

// Remove deletes the host's groups (the lab's when host is empty) from every hierarchy, the unified one included.
func Remove(ctx context.Context, host string) error {
	entries, err := os.ReadDir(mount)
	if err != nil {
		return fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	for _, e := range entries {
		if err := removeTree(ctx, filepath.Join(mount, e.Name(), Root, host)); err != nil {
			return err
		}
	}
	return nil
}

// removeTree deletes groups from the leaves up. A group whose last process has just died can be busy for a moment.
func removeTree(ctx context.Context, top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return ignoreMissing(err)
	})
	if err != nil {
		return fmt.Errorf("list cgroups: %w", err)
	}
	for _, dir := range slices.Backward(dirs) {
		for {
			err := os.Remove(dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if !errors.Is(err, syscall.EBUSY) || ctx.Err() != nil {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// List names all groups of the lab, for the check that nothing is left.
func List() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(mount, "*", Root))
	if err != nil {
		return nil, fmt.Errorf("list the lab's cgroups: %w", err)
	}
	return found, nil
}

func write(file, value string) error {
	if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set cgroup: %w", err)
	}
	return nil
}
