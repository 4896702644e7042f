package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// mostPoolBytes caps the pool; it is sparse, and never promised more than nine tenths of what the disk below has free.
const mostPoolBytes = 256 << 30

// ErrInUse is returned when another living process has the store open.
var ErrInUse = errors.New("another process has the volumes open")

// Store is an open directory of volumes. Its methods may be called at the same time; those on one volume wait for
// each other.
type Store struct {
	dir       string
	lock      *os.File
	volumes   shelf
	snapshots shelf
	throttle  *throttle

	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

// Volume is what List shows.
type Volume struct {
	Spec
	Created time.Time
	// Holder is who an exclusive volume is attached to, "" for nobody.
	Holder string
	// Path is the folder a pod gets.
	Path string
	// Mounted says whether the volume is mounted. Device, Size and Used are known only then.
	Mounted bool
	Device  string
	// Size and Used are the bytes df shows.
	Size, Used int64
	Faults     Faults
}

// Open opens the store in dir, making it where it is new, and mounts every volume that should be mounted. What a
// killed process left mounted stays as it is, its faults too. The directory must be seen under the same path by
// every node.
func Open(ctx context.Context, dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open the volumes: %w", err)
	}
	dir, err := canonical(dir)
	if err != nil {
		return nil, err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir:       dir,
		lock:      lock,
		volumes:   shelf(filepath.Join(poolDir(dir), "volumes")),
		snapshots: shelf(filepath.Join(poolDir(dir), "snapshots")),
		throttle:  newThrottle(blkioRoot),
		locks:     map[string]*sync.Mutex{},
	}
	if err := s.start(ctx); err != nil {
		s.throttle.stop()
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := Prepare(s.dir); err != nil {
		return err
	}
	fresh, err := openPool(ctx, s.dir)
	if err != nil {
		return err
	}
	for _, folder := range []shelf{s.volumes, s.snapshots} {
		if err := os.MkdirAll(string(folder), 0o755); err != nil {
			return fmt.Errorf("open the volumes: %w", err)
		}
	}
	records, err := s.volumes.list()
	if err != nil {
		return err
	}
	for _, r := range records {
		// Faults are of the running lab: what was unmounted and detached in between comes back healthy.
		if fresh && r.Faults != (Faults{}) {
			r.Faults = Faults{}
			if err := s.volumes.write(r); err != nil {
				return err
			}
		}
		if r.Exclusive && r.Holder == "" {
			continue
		}
		if err := s.mount(r); err != nil {
			return err
		}
	}
	return nil
}

// openPool mounts the pool, making it first where there is none. It reports whether the pool was not mounted before.
func openPool(ctx context.Context, dir string) (fresh bool, err error) {
	entry, err := mountAt(poolDir(dir))
	if err != nil || entry != nil {
		return false, err
	}
	if err := os.MkdirAll(poolDir(dir), 0o755); err != nil {
		return false, fmt.Errorf("open the pool: %w", err)
	}
	if _, err := os.Stat(poolImage(dir)); errors.Is(err, os.ErrNotExist) {
		if err := makePool(ctx, dir); err != nil {
			return false, err
		}
	}
	// discard gives the space of deleted volumes back to the disk below.
	if _, err := mountImage(poolImage(dir), loopName(dir, poolLoop), poolDir(dir), "discard"); err != nil {
		return false, err
	}
	return true, nil
}

// poolLoop names the pool's loop device; no volume can be called so.
const poolLoop = ".pool"

func makePool(ctx context.Context, dir string) error {
	below, err := diskUsage(dir)
	if err != nil {
		return err
	}
	size := min(mostPoolBytes, below.available/10*9) / mib * mib
	// Under another name until it is a file system: a process killed in between leaves no half pool.
	temp := poolImage(dir) + ".new"
	if err := makeSparse(temp, size); err != nil {
		return err
	}
	if err := formatPool(ctx, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, poolImage(dir)); err != nil {
		return fmt.Errorf("make the pool: %w", err)
	}
	return nil
}

func makeSparse(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make a disk image: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("make a disk image of %d bytes: %w", size, err)
	}
	return nil
}

// takeLock holds for as long as the process lives, and no longer.
func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the volumes: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return nil, fmt.Errorf("lock the volumes: %w", err)
}

// Close unmounts and detaches everything. The files stay.
func (s *Store) Close(ctx context.Context) error {
	s.throttle.stop()
	return errors.Join(release(ctx, s.dir), s.lock.Close())
}

// hold makes the caller the only one who works on the volume, until it calls what is returned.
func (s *Store) hold(name string) (unlock func()) {
	s.mu.Lock()
	lock := s.locks[name]
	if lock == nil {
		lock = &sync.Mutex{}
		s.locks[name] = lock
	}
	s.mu.Unlock()
	lock.Lock()
	return lock.Unlock
}

func (s *Store) mountpoint(name string) string { return filepath.Join(mountsDir(s.dir), name) }

// Path is the folder of the volume that a pod gets.
func (s *Store) Path(name string) string { return filepath.Join(s.mountpoint(name), "data") }

// List returns every volume, by name.
func (s *Store) List() ([]Volume, error) {
	records, err := s.volumes.list()
	if err != nil {
		return nil, err
	}
	volumes := make([]Volume, 0, len(records))
	for _, r := range records {
		v := Volume{Spec: r.spec(), Created: r.Created, Holder: r.Holder, Path: s.Path(r.Name), Faults: r.Faults}
		entry, err := mountAt(s.mountpoint(r.Name))
		if err != nil {
			return nil, err
		}
		if entry != nil {
			space, err := diskUsage(entry.Mountpoint)
			if err != nil {
				return nil, err
			}
			v.Mounted, v.Device, v.Size, v.Used = true, entry.Source, space.size, space.used
		}
		volumes = append(volumes, v)
	}
	return volumes, nil
}

// Find returns the volumes that carry all the labels.
func (s *Store) Find(labels map[string]string) ([]Volume, error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	var found []Volume
	for _, v := range all {
		merged := maps.Clone(v.Labels)
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, labels)
		if maps.Equal(merged, v.Labels) {
			found = append(found, v)
		}
	}
	return found, nil
}
