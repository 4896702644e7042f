package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// inflightWait is how long requests already given to a disk may take before it is an error.
const inflightWait = 10 * time.Second

// HeldError says that an exclusive volume is attached to somebody else.
type HeldError struct{ Volume, Holder string }

func (e *HeldError) Error() string {
	return fmt.Sprintf("volume %s is attached to %s", e.Volume, e.Holder)
}

// Attach mounts an exclusive volume for the holder and returns the folder a pod gets. It is a [HeldError] while
// another holds it.
func (s *Store) Attach(ctx context.Context, name, holder string) (string, error) {
	defer s.hold(name)()
	r, err := s.volumes.read(name)
	if err != nil {
		return "", err
	}
	if !r.Exclusive {
		return "", fmt.Errorf("attach %s: it is not a volume that moves", name)
	}
	if r.Holder != "" && r.Holder != holder {
		return "", fmt.Errorf("attach: %w", &HeldError{Volume: name, Holder: r.Holder})
	}
	// The holder is written before the mount: a process killed in between leaves a volume too few people may use.
	r.Holder = holder
	if err := s.volumes.write(r); err != nil {
		return "", err
	}
	if err := s.mount(r); err != nil {
		return "", fmt.Errorf("attach %s: %w", name, err)
	}
	return s.Path(name), nil
}

// Detach takes an exclusive volume from the holder. When it returns without an error, nothing the holder does can
// reach the disk any more: where the file system is still in use (a node that was cut off, say), it is shut down
// there, which fenced reports, and every use of it is an I/O error. Detaching from one who does not hold the volume
// is no error.
func (s *Store) Detach(ctx context.Context, name, holder string) (fenced bool, err error) {
	defer s.hold(name)()
	r, err := s.volumes.read(name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if r.Holder != holder || holder == "" {
		return false, nil
	}
	fenced, err = s.unmount(ctx, r)
	if err != nil {
		return fenced, fmt.Errorf("detach %s: %w", name, err)
	}
	r.Holder = ""
	return fenced, s.volumes.write(r)
}

// mount mounts the volume where it is not mounted, at the record's size and with the record's faults.
func (s *Store) mount(r record) error {
	path := s.mountpoint(r.Name)
	entry, err := mountAt(path)
	if err != nil {
		return err
	}
	if entry != nil {
		// Left by an earlier process, with its faults.
		if !r.Faults.Hung {
			if err := s.fit(r, entry.Source); err != nil {
				return err
			}
		}
		return s.throttleVolume(entry.Source, r.Faults)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", r.Name, err)
	}
	device, err := mountImage(s.volumes.image(r.Name), loopName(s.dir, r.Name), path, "")
	if err != nil {
		return err
	}
	if err := s.fit(r, device); err != nil {
		return err
	}
	// Healed while it was not mounted, or a clone of a filled volume.
	if r.Faults.FillPercent == 0 {
		if err := removeFill(path); err != nil {
			return err
		}
	}
	if r.Faults.Hung {
		if err := freeze(path); err != nil {
			return err
		}
	}
	return s.throttleVolume(device, r.Faults)
}

// mountImage mounts an image by a loop device of that name. A device that has it already is used again: where another
// mount namespace still holds the file system, a second device would be a second file system on the same blocks.
func mountImage(image, name, path, options string) (string, error) {
	devices, err := loopsNamed(name)
	if err != nil {
		return "", err
	}
	for _, device := range devices {
		if err := mountXFS(device, path, options); err == nil || loopInUse(device) {
			return device, err
		}
	}
	device, err := attachLoop(image, name)
	if err != nil {
		return "", err
	}
	defer device.Close()
	return device.Name(), mountXFS(device.Name(), path, options)
}

// unmount unmounts the volume and frees its loop devices, by force where somebody else still has it mounted. It looks
// at the devices also when nothing is mounted here, so that a fence which went wrong half-way is taken up again.
func (s *Store) unmount(ctx context.Context, r record) (fenced bool, err error) {
	path := s.mountpoint(r.Name)
	entry, err := mountAt(path)
	if err != nil {
		return false, err
	}
	if entry != nil {
		// No fault may stand in the way: a frozen file system never comes free.
		if err := s.throttleVolume(entry.Source, Faults{}); err != nil {
			return false, err
		}
		if err := thaw(path); err != nil {
			return false, err
		}
		if err := unmount(path); err != nil {
			return false, err
		}
	}
	devices, err := loopsNamed(loopName(s.dir, r.Name))
	if err != nil {
		return false, err
	}
	for _, device := range devices {
		free, err := detachLoop(ctx, device)
		if err != nil {
			return fenced, err
		}
		if free {
			continue
		}
		if err := s.fence(ctx, device, path); err != nil {
			return fenced, err
		}
		fenced = true
	}
	return fenced, nil
}

// fence shuts down a file system that another mount namespace still holds. Mounting its device again gives the very
// same file system, and with it the handle to end it for everyone. The image is free for another loop device then;
// the old one stays until its last user is gone.
func (s *Store) fence(ctx context.Context, device, path string) error {
	if err := mountXFS(device, path, ""); err != nil {
		// The last user went between the two looks.
		if !loopInUse(device) {
			return nil
		}
		return fmt.Errorf("fence: %w", err)
	}
	err := shutdown(path)
	if err := errors.Join(err, unmount(path)); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	if _, err := detachLoop(ctx, device); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	quiet, err := waitFor(ctx, inflightWait, func() (bool, error) { return loopQuiet(device) })
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	if !quiet {
		return fmt.Errorf("fence: requests are still under way on %s", device)
	}
	return renameLoop(device, fencedLoopName(s.dir))
}
