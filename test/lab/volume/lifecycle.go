package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// roundSize is the size a volume gets: whole MiB (so that every allocation group is whole, and df shows just this
// size after each growth too), and no less than xfs takes.
func roundSize(bytes int64) int64 {
	return max((bytes+mib-1)/mib*mib, LeastBytes)
}

// Create makes a volume of at least the size asked for and returns the size it has. Making a volume that exists with
// that size is no error, so that a caller who was cut short may ask again.
func (s *Store) Create(ctx context.Context, spec Spec) (int64, error) {
	return s.create(ctx, spec, func(image string) error {
		if err := makeSparse(image, roundSize(spec.Bytes)+logBytes); err != nil {
			return err
		}
		return formatVolume(ctx, image)
	})
}

// Clone makes a volume with the contents of a snapshot. It may be larger than that, not smaller.
func (s *Store) Clone(ctx context.Context, snapshot string, spec Spec) (int64, error) {
	origin, err := s.snapshots.read(snapshot)
	if err != nil {
		return 0, err
	}
	if roundSize(spec.Bytes) < origin.Bytes {
		return 0, fmt.Errorf("clone %s: %d bytes are less than the snapshot's %d", snapshot, spec.Bytes, origin.Bytes)
	}
	return s.create(ctx, spec, func(image string) error {
		if err := reflink(s.snapshots.image(snapshot), image); err != nil {
			return err
		}
		return os.Truncate(image, roundSize(spec.Bytes)+logBytes)
	})
}

func (s *Store) create(ctx context.Context, spec Spec, fill func(image string) error) (int64, error) {
	if err := checkName(spec.Name); err != nil {
		return 0, err
	}
	defer s.hold(spec.Name)()
	size := roundSize(spec.Bytes)
	existing, err := s.volumes.read(spec.Name)
	if err == nil && existing.Bytes == size {
		return size, nil
	}
	if err == nil {
		return 0, fmt.Errorf("create %s: it exists with %d bytes", spec.Name, existing.Bytes)
	}
	if !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	if err := s.checkSpace(size); err != nil {
		return 0, fmt.Errorf("create %s: %w", spec.Name, err)
	}
	r := record{
		Name: spec.Name, Bytes: size, Labels: maps.Clone(spec.Labels), Exclusive: spec.Exclusive, Created: time.Now().UTC(),
	}
	if err := s.build(ctx, r, fill); err != nil {
		_, releaseErr := s.unmount(ctx, r)
		return 0, errors.Join(fmt.Errorf("create %s: %w", spec.Name, err), releaseErr, s.volumes.remove(spec.Name))
	}
	return size, nil
}

// checkSpace refuses what could never be written in full. Volumes are thin: together they may promise more.
func (s *Store) checkSpace(bytes int64) error {
	pool, err := diskUsage(poolDir(s.dir))
	if err != nil {
		return err
	}
	if bytes > pool.available {
		return fmt.Errorf("the pool has %d bytes left, fewer than the %d asked for", pool.available, bytes)
	}
	return nil
}

func (s *Store) build(ctx context.Context, r record, fill func(image string) error) error {
	// What a creation that was cut short left mounted would write into the new image.
	if _, err := s.unmount(ctx, r); err != nil {
		return err
	}
	if err := fill(s.volumes.image(r.Name)); err != nil {
		return err
	}
	if err := s.mount(r); err != nil {
		return err
	}
	// As a new disk is: root's. Kubernetes gives it to the pod's fsGroup.
	if err := os.Mkdir(s.Path(r.Name), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the pod's folder: %w", err)
	}
	if r.Exclusive {
		if _, err := s.unmount(ctx, r); err != nil {
			return err
		}
	}
	return s.volumes.write(r)
}

// Grow makes the volume at least as large as asked and returns the size it has. It never shrinks. An exclusive volume
// that is attached to nobody grows when it is attached.
func (s *Store) Grow(ctx context.Context, name string, bytes int64) (int64, error) {
	defer s.hold(name)()
	r, err := s.volumes.read(name)
	if err != nil {
		return 0, err
	}
	if r.Faults.Hung {
		return 0, fmt.Errorf("grow %s: the disk hangs", name)
	}
	if size := roundSize(bytes); size > r.Bytes {
		if err := s.checkSpace(size - r.Bytes); err != nil {
			return 0, fmt.Errorf("grow %s: %w", name, err)
		}
		if err := os.Truncate(s.volumes.image(name), size+logBytes); err != nil {
			return 0, fmt.Errorf("grow %s: %w", name, err)
		}
		// Before the file system: killed in between, the next growth or mount catches up; it could not shrink.
		r.Bytes = size
		if err := s.volumes.write(r); err != nil {
			return 0, err
		}
	}
	entry, err := mountAt(s.mountpoint(name))
	if err != nil {
		return 0, err
	}
	if entry != nil {
		if err := s.fit(r, entry.Source); err != nil {
			return 0, err
		}
	}
	return r.Bytes, nil
}

// fit grows the mounted file system to the record's size and checks that df shows it.
func (s *Store) fit(r record, device string) error {
	path := s.mountpoint(r.Name)
	space, err := diskUsage(path)
	if err != nil {
		return err
	}
	if space.size < r.Bytes {
		if err := resizeLoop(device); err != nil {
			return err
		}
		if err := growXFS(path, r.Bytes+logBytes); err != nil {
			return err
		}
		if space, err = diskUsage(path); err != nil {
			return err
		}
	}
	if space.size != r.Bytes {
		return fmt.Errorf("%s shows %d bytes and should show %d", path, space.size, r.Bytes)
	}
	return nil
}

// Delete removes the volume, also when a pod still uses it: the pod gets I/O errors then. An exclusive volume must
// have been detached. A volume that does not exist is no error.
func (s *Store) Delete(ctx context.Context, name string) error {
	defer s.hold(name)()
	r, err := s.volumes.read(name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Holder != "" {
		return fmt.Errorf("delete: %w", &HeldError{Volume: name, Holder: r.Holder})
	}
	if _, err := s.unmount(ctx, r); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	if err := os.Remove(s.mountpoint(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return s.volumes.remove(name)
}

// Snapshot keeps the volume as it is at this moment, with everything that was written, synced or not. Writers wait
// while it is taken.
func (s *Store) Snapshot(_ context.Context, name, snapshot string) (err error) {
	if err := checkName(snapshot); err != nil {
		return err
	}
	defer s.hold(name)()
	r, err := s.volumes.read(name)
	if err != nil {
		return err
	}
	if _, err := s.snapshots.read(snapshot); !errors.Is(err, ErrNotFound) {
		return errors.Join(fmt.Errorf("snapshot %s: %s exists already", name, snapshot), err)
	}
	entry, err := mountAt(s.mountpoint(name))
	if err != nil {
		return err
	}
	// A hung disk is frozen as it is.
	if entry != nil && !r.Faults.Hung {
		if err := freeze(entry.Mountpoint); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, thaw(entry.Mountpoint)) }()
	}
	if err := reflink(s.volumes.image(name), s.snapshots.image(snapshot)); err != nil {
		return err
	}
	return s.snapshots.write(record{Name: snapshot, Bytes: r.Bytes, Labels: r.Labels, Created: time.Now().UTC()})
}

// DeleteSnapshot removes a snapshot; clones of it stay whole.
func (s *Store) DeleteSnapshot(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return s.snapshots.remove(name)
}

func reflink(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy %s: %w", filepath.Base(from), err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy %s: %w", filepath.Base(from), err)
	}
	defer target.Close()
	if err := unix.IoctlFileClone(int(target.Fd()), int(source.Fd())); err != nil {
		return fmt.Errorf("copy %s: %w", filepath.Base(from), err)
	}
	return nil
}
