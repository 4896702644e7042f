package volume

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	loopControl = "/dev/loop-control"
	// kernelLoops is how many loop devices the kernel makes by itself; those past them exist because we asked.
	kernelLoops = 8
	// releaseWait is how long a loop device may take to come free after its file system was unmounted here.
	releaseWait = 300 * time.Millisecond
)

// loopName is the name a store writes into its loop devices, which has 63 bytes at most. The backing file's path would
// not do: once the pool is unmounted, or the file deleted, the kernel shows another path.
func loopName(dir, name string) string { return loopPrefix(dir) + shortHash(name) }

// fencedLoopName is for a device whose file system is shut down and has users yet; it is no volume's any more.
func fencedLoopName(dir string) string { return loopPrefix(dir) + "fenced" }

func loopPrefix(dir string) string { return "pgspan-lab/" + shortHash(dir) + "/" }

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// attachLoop gives the image a free loop device with direct I/O, so that pages are not cached twice. The device comes
// free by itself with its last user, also when a whole mount namespace goes at once; until it is mounted, the caller is
// the only user and must hold the file.
func attachLoop(image, name string) (*os.File, error) {
	backing, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("attach loop device: %w", err)
	}
	defer backing.Close()
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("attach loop device: %w", err)
	}
	defer control.Close()

	// The sector size is said outright: left to itself the kernel makes it larger for a file with shared blocks, and
	// a clone could not be mounted.
	config := unix.LoopConfig{
		Fd: uint32(backing.Fd()), Size: blockBytes,
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_DIRECT_IO | unix.LO_FLAGS_AUTOCLEAR},
	}
	copy(config.Info.File_name[:], name)
	for range 50 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		device, err := os.OpenFile("/dev/loop"+strconv.Itoa(number), os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("attach %s: %w", image, err)
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		device.Close()
		// Otherwise somebody else took it between the two calls.
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("attach %s to %s: %w", image, device.Name(), err)
		}
	}
	return nil, fmt.Errorf("attach %s: every free loop device was taken by others", image)
}

// resizeLoop makes the device as large as its image has become.
func resizeLoop(device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("resize loop device: %w", err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", device, err)
	}
	return nil
}

// detachLoop lets the device go and reports whether it is free. While a file system on it is still mounted in
// another mount namespace it is not: the kernel frees it after the last of them.
func detachLoop(ctx context.Context, device string) (bool, error) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("detach loop device: %w", err)
	}
	err = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
	f.Close()
	if err != nil && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EBUSY) {
		return false, fmt.Errorf("detach %s: %w", device, err)
	}
	free, err := waitFor(ctx, releaseWait, func() (bool, error) { return !loopInUse(device), nil })
	if free {
		removeLoopNode(device)
	}
	return free, err
}

// removeLoopNode takes away a device past the kernel's own. Another process may hold it by now; then it stays.
func removeLoopNode(device string) {
	number, err := strconv.Atoi(strings.TrimPrefix(device, "/dev/loop"))
	if err != nil || number < kernelLoops {
		return
	}
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer control.Close()
	_ = unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_REMOVE, number)
}

func loopSys(device, file string) string {
	return filepath.Join("/sys/block", filepath.Base(device), file)
}

func loopInUse(device string) bool {
	_, err := os.Stat(loopSys(device, "loop/backing_file"))
	return err == nil
}

// loopQuiet reports whether no request is under way on the device.
func loopQuiet(device string) (bool, error) {
	raw, err := os.ReadFile(loopSys(device, "inflight"))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the requests under way on %s: %w", device, err)
	}
	for _, field := range strings.Fields(string(raw)) {
		if field != "0" {
			return false, nil
		}
	}
	return true, nil
}

// deviceNumber is the "major:minor" by which the kernel's throttle knows the device.
func deviceNumber(device string) (string, error) {
	raw, err := os.ReadFile(loopSys(device, "dev"))
	if err != nil {
		return "", fmt.Errorf("read the number of %s: %w", device, err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// storeLoops lists the loop devices in use by the store in dir, whoever attached them and however long ago.
func storeLoops(dir string) ([]string, error) {
	return findLoops(func(backing, name string) bool {
		return strings.HasPrefix(backing, dir+"/") || strings.HasPrefix(name, loopPrefix(dir))
	})
}

func loopsNamed(name string) ([]string, error) {
	return findLoops(func(_, found string) bool { return found == name })
}

func findLoops(want func(backing, name string) bool) ([]string, error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, fmt.Errorf("list loop devices: %w", err)
	}
	var found []string
	for _, file := range files {
		device := "/dev/" + strings.Split(file, "/")[3]
		backing, err := os.ReadFile(file)
		if err != nil {
			continue // detached meanwhile
		}
		if want(string(backing), nameOfLoop(device)) {
			found = append(found, device)
		}
	}
	return found, nil
}

func nameOfLoop(device string) string {
	f, err := os.Open(device)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.File_name[:])
}

// renameLoop gives a device in use another name. One that came free meanwhile needs none.
func renameLoop(device, name string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rename loop device: %w", err)
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err == nil {
		info.File_name = [unix.LO_NAME_SIZE]uint8{}
		copy(info.File_name[:], name)
		err = unix.IoctlLoopSetStatus64(int(f.Fd()), info)
	}
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("rename %s: %w", device, err)
	}
	return nil
}

// waitFor asks until the answer is yes, the limit has passed (no, without an error) or ctx ends.
func waitFor(ctx context.Context, limit time.Duration, ask func() (bool, error)) (bool, error) {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		yes, err := ask()
		if yes || err != nil {
			return yes, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(pause):
		}
	}
}
