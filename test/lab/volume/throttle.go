package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	blkioRoot = "/sys/fs/cgroup/blkio"
	// newGroupPause is how long a pod that starts on a slow disk may find it fast.
	newGroupPause = 250 * time.Millisecond
)

// Limit is how much a disk does per second, for reading and for writing each; 0 is no limit.
type Limit struct {
	IOPS           int   `json:"iops,omitempty"`
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`
}

// ParseLimit reads "20iops", "2MBps" or both with a comma: k, M and G are thousands, Ki, Mi and Gi powers of 1024.
func ParseLimit(text string) (Limit, error) {
	var l Limit
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if number, ok := strings.CutSuffix(part, "iops"); ok {
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 {
				return Limit{}, fmt.Errorf("%q: write a whole number of operations, as in 20iops", part)
			}
			l.IOPS = n
			continue
		}
		number, ok := strings.CutSuffix(part, "Bps")
		if !ok {
			return Limit{}, fmt.Errorf("%q: write 20iops, 2MBps, or both with a comma", part)
		}
		factor := int64(1)
		for _, unit := range units {
			if rest, ok := strings.CutSuffix(number, unit.suffix); ok {
				number, factor = rest, unit.factor
				break
			}
		}
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n < 1 {
			return Limit{}, fmt.Errorf("%q: write a whole number of bytes, as in 2MBps", part)
		}
		l.BytesPerSecond = n * factor
	}
	return l, nil
}

// The longer suffixes come first.
var units = []struct {
	suffix string
	factor int64
}{{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}}

// settings are the values of the four throttle files for one device; 0 lifts the limit.
type settings map[string]int64

func (f Faults) settings() settings {
	s := settings{
		"blkio.throttle.read_iops_device":  int64(f.Limit.IOPS),
		"blkio.throttle.write_iops_device": int64(f.Limit.IOPS),
		"blkio.throttle.read_bps_device":   f.Limit.BytesPerSecond,
		"blkio.throttle.write_bps_device":  f.Limit.BytesPerSecond,
	}
	// The freeze stops writers only. One byte a second is never for a page, and what waits goes on at once when
	// the limit is lifted.
	if f.Hung {
		s["blkio.throttle.read_bps_device"] = 1
	}
	return s
}

func (s settings) none() bool {
	for _, v := range s {
		if v != 0 {
			return false
		}
	}
	return true
}

// throttle keeps limits of devices in force in every blkio cgroup. In cgroup v1 a limit counts for the processes of
// its own group only, not for those below it: one in the root group would slow writeback and leave a pod's fsync as
// fast as ever. So it is written into each group there is, and into each new one while the limit lasts. A limit
// counts per group: two pods on one volume get it once each.
type throttle struct {
	root string
	quit chan struct{}
	once sync.Once
	done sync.WaitGroup

	mu      sync.Mutex
	devices map[string]settings          // by device number
	written map[string]map[groupKey]bool // by device number
}

// groupKey tells a group from a later one of the same name.
type groupKey struct {
	path  string
	inode uint64
}

func newThrottle(root string) *throttle {
	t := &throttle{
		root: root, quit: make(chan struct{}),
		devices: map[string]settings{}, written: map[string]map[groupKey]bool{},
	}
	t.done.Go(t.follow)
	return t
}

// follow finds new groups. An error here is a group that went away, or comes back at the next turn.
func (t *throttle) follow() {
	tick := time.NewTicker(newGroupPause)
	defer tick.Stop()
	for {
		select {
		case <-t.quit:
			return
		case <-tick.C:
			t.mu.Lock()
			for device := range t.devices {
				_ = t.write(device)
			}
			t.mu.Unlock()
		}
	}
}

func (t *throttle) stop() {
	t.once.Do(func() { close(t.quit) })
	t.done.Wait()
}

// set puts the settings in force for the device everywhere before it returns.
func (t *throttle) set(device string, s settings) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.written, device)
	if s.none() {
		delete(t.devices, device)
		return clearThrottles(t.root, map[string]bool{device: true})
	}
	t.devices[device] = s
	return t.write(device)
}

func (t *throttle) write(device string) error {
	seen := map[groupKey]bool{}
	err := eachGroup(t.root, func(key groupKey) error {
		if !t.written[device][key] {
			for file, value := range t.devices[device] {
				if err := writeThrottle(filepath.Join(key.path, file), device, value); err != nil {
					return err
				}
			}
		}
		seen[key] = true
		return nil
	})
	t.written[device] = seen
	return err
}

// clearThrottles lifts every limit on the devices in every group.
func clearThrottles(root string, devices map[string]bool) error {
	return eachGroup(root, func(key groupKey) error {
		for file := range (Faults{}).settings() {
			path := filepath.Join(key.path, file)
			raw, err := os.ReadFile(path)
			if err != nil {
				return ignoreGone(err)
			}
			for line := range strings.Lines(string(raw)) {
				device, _, _ := strings.Cut(line, " ")
				if !devices[device] {
					continue
				}
				if err := writeThrottle(path, device, 0); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func writeThrottle(path, device string, value int64) error {
	err := os.WriteFile(path, fmt.Appendf(nil, "%s %d", device, value), 0o644)
	if err := ignoreGone(err); err != nil {
		return fmt.Errorf("throttle device %s: %w", device, err)
	}
	return nil
}

// ignoreGone: a group may end while its files are looked at.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	return err
}

func eachGroup(root string, visit func(groupKey) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		if !d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no inode number", path)
		}
		return visit(groupKey{path: path, inode: stat.Ino})
	})
}
