package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fillFile takes the space; it lies beside the pod's folder, so the pod does not see it.
const fillFile = ".fill"

// removeFill empties the file first: the space of a deleted file comes back only after a while.
func removeFill(mountpoint string) error {
	file := filepath.Join(mountpoint, fillFile)
	err := os.Truncate(file, 0)
	if err == nil {
		err = os.Remove(file)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("give back the space: %w", err)
	}
	return nil
}

// fault changes what is wrong with a mounted volume: the record first, so that a process killed in between leaves a
// fault that Heal knows of.
func (s *Store) fault(name string, change func(*Faults), act func(path, device string, f Faults) error) error {
	defer s.hold(name)()
	r, err := s.volumes.read(name)
	if err != nil {
		return err
	}
	entry, err := mountAt(s.mountpoint(name))
	if err != nil {
		return err
	}
	if entry == nil {
		return fmt.Errorf("%s is attached to no node", name)
	}
	if r.Faults.Hung {
		return fmt.Errorf("%s hangs already: heal it first", name)
	}
	change(&r.Faults)
	if err := s.volumes.write(r); err != nil {
		return err
	}
	return act(entry.Mountpoint, entry.Source, r.Faults)
}

// Fill takes space until the volume is used to that many percent. At 100 the next write finds no space left.
func (s *Store) Fill(_ context.Context, name string, percent int) error {
	if percent < 1 || percent > 100 {
		return fmt.Errorf("fill %s: %d%% is not between 1%% and 100%%", name, percent)
	}
	return s.fault(name, func(f *Faults) { f.FillPercent = percent }, func(path, _ string, _ Faults) error {
		if err := takeSpace(path, percent); err != nil {
			return fmt.Errorf("fill %s: %w", name, err)
		}
		return nil
	})
}

// takeSpace allocates without writing, so it costs neither time nor space in the pool. Near the end the file system
// refuses a large piece and still has smaller ones.
func takeSpace(path string, percent int) error {
	f, err := os.OpenFile(filepath.Join(path, fillFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	space, err := diskUsage(path)
	if err != nil {
		return err
	}
	missing := space.size*int64(percent)/100 - space.used
	var at int64
	for piece := missing; missing >= blockBytes && piece >= blockBytes; {
		piece = min(piece, missing) / blockBytes * blockBytes
		err := unix.Fallocate(int(f.Fd()), 0, at, piece)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ENOSPC) {
			piece /= 2
			continue
		}
		if err != nil {
			return err
		}
		at += piece
		missing -= piece
	}
	return nil
}

// Slow limits what the disk does per second.
func (s *Store) Slow(_ context.Context, name string, limit Limit) error {
	if limit == (Limit{}) || limit.IOPS < 0 || limit.BytesPerSecond < 0 {
		return fmt.Errorf("slow %s: give operations or bytes per second", name)
	}
	return s.fault(name, func(f *Faults) { f.Limit = limit }, func(_, device string, f Faults) error {
		return s.throttleVolume(device, f)
	})
}

// Hang lets no write come back, nor a read that is not in memory. Who waits cannot be killed, as with a real disk.
func (s *Store) Hang(_ context.Context, name string) error {
	return s.fault(name, func(f *Faults) { f.Hung = true }, func(path, device string, f Faults) error {
		// Freezing writes out what is in memory; a slow disk would keep us at that for minutes.
		if err := s.throttleVolume(device, Faults{}); err != nil {
			return err
		}
		if err := freeze(path); err != nil {
			return err
		}
		return s.throttleVolume(device, f)
	})
}

// Heal undoes every fault of the volume.
func (s *Store) Heal(_ context.Context, name string) error {
	defer s.hold(name)()
	r, err := s.volumes.read(name)
	if err != nil {
		return err
	}
	entry, err := mountAt(s.mountpoint(name))
	if err != nil {
		return err
	}
	if entry != nil {
		if err := errors.Join(
			s.throttleVolume(entry.Source, Faults{}),
			thaw(entry.Mountpoint),
			removeFill(entry.Mountpoint),
		); err != nil {
			return fmt.Errorf("heal %s: %w", name, err)
		}
	}
	// A volume that is not mounted gets its space back when it is.
	r.Faults = Faults{}
	return s.volumes.write(r)
}

// HealAll undoes every fault of every volume.
func (s *Store) HealAll(ctx context.Context) error {
	records, err := s.volumes.list()
	if err != nil {
		return err
	}
	var all []error
	for _, r := range records {
		if r.Faults == (Faults{}) {
			continue
		}
		all = append(all, s.Heal(ctx, r.Name))
	}
	return errors.Join(all...)
}

func (s *Store) throttleVolume(device string, f Faults) error {
	number, err := deviceNumber(device)
	if err != nil {
		return err
	}
	return s.throttle.set(number, f.settings())
}
