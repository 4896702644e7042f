// Package leftovers looks for what a lab could leave on the machine, and tells what is there now that was not there
// before.
package leftovers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/test/lab/command"
)

// Snapshot is everything of the machine that a lab touches, by kind; each thing is one line.
type Snapshot map[string][]string

// Take looks at the machine.
func Take(ctx context.Context) (Snapshot, error) {
	s := Snapshot{}
	for kind, look := range map[string]func(context.Context) ([]string, error){
		"network namespace": files("/run/netns/*"),
		"mount":             mounts,
		"loop device":       loops,
		"control group":     groups,
		"nft table":         tables,
		"link":              files("/sys/class/net/*"),
		"process":           processes,
	} {
		found, err := look(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for each %s: %w", kind, err)
		}
		slices.Sort(found)
		s[kind] = found
	}
	return s, nil
}

// New lists what after has and before has not: each thing as often as it is new.
func New(before, after Snapshot) []string {
	var found []string
	for kind, things := range after {
		known := map[string]int{}
		for _, t := range before[kind] {
			known[t]++
		}
		for _, t := range things {
			if known[t] > 0 {
				known[t]--
				continue
			}
			found = append(found, kind+" "+t)
		}
	}
	slices.Sort(found)
	return found
}

func files(pattern string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) { return filepath.Glob(pattern) }
}

// mounts are the mount points of the machine. A point mounted over twice is there twice.
func mounts(context.Context) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, fields[4])
		}
	}
	return points, nil
}

// loops are the files that loop devices show.
func loops(context.Context) ([]string, error) {
	all, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var backing []string
	for _, file := range all {
		data, err := os.ReadFile(file)
		if err == nil {
			backing = append(backing, strings.TrimSpace(string(data)))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return backing, nil
}

// groups are the control groups just below each hierarchy's root; deeper ones cannot be left without them.
func groups(context.Context) ([]string, error) {
	all, err := filepath.Glob("/sys/fs/cgroup/*/*")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(path string) bool {
		info, err := os.Lstat(path)
		return err != nil || !info.IsDir()
	}), nil
}

func tables(ctx context.Context) ([]string, error) {
	out, err := command.Run(ctx, "nft", "list", "tables")
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSpace(out), "\n"), nil
}

// processes are those that live in a network or process namespace other than our own, or run one of the lab's
// programs. Ones that are dead and only wait to be collected do not count: whoever started them has to.
func processes(context.Context) ([]string, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	home := map[string]string{}
	for _, kind := range []string{"net", "pid"} {
		if home[kind], err = os.Readlink("/proc/self/ns/" + kind); err != nil {
			return nil, err
		}
	}
	var found []string
	for _, dir := range dirs {
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(line) == 0 || filepath.Base(dir) == fmt.Sprint(os.Getpid()) {
			continue
		}
		away := false
		for kind, own := range home {
			other, err := os.Readlink(filepath.Join(dir, "ns", kind))
			away = away || (err == nil && other != own)
		}
		words := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		if away || isLab(words) {
			found = append(found, strings.Join(words, " "))
		}
	}
	return found, nil
}

// isLab recognises the lab's own processes of the machine.
func isLab(words []string) bool {
	return len(words) > 1 && (words[0] == "/proc/self/exe" || filepath.Base(words[0]) == "lab" || strings.Contains(words[0], "/pgspan/lab/"))
}

// OfLab keeps the things that can only be a lab's: those that carry its name.
func OfLab(s Snapshot) []string {
	var found []string
	for kind, things := range s {
		for _, t := range things {
			if strings.Contains(t, "pgspan-lab") {
				found = append(found, kind+" "+t)
			}
		}
	}
	slices.Sort(found)
	return found
}
