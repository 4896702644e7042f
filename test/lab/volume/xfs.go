package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	mib = 1 << 20
	// logBytes is the size of each volume's xfs log. It lies inside the image but is not part of what df shows, so
	// the image is larger than the volume by just this much. 64 MiB is the least mkfs.xfs takes.
	logBytes = 64 * mib
	// leastImageBytes is what mkfs.xfs asks for at least.
	leastImageBytes = 300 * mib
	// LeastBytes is the size of the smallest volume; a smaller wish gets this.
	LeastBytes = leastImageBytes - logBytes
)

// ioctls of <linux/fs.h> and <xfs/xfs_fs.h> that x/sys/unix does not name.
const (
	ioctlFreeze     = 0xc0045877 // FIFREEZE
	ioctlThaw       = 0xc0045878 // FITHAW
	ioctlGrowData   = 0x4010586e // XFS_IOC_FSGROWFSDATA
	ioctlShutdown   = 0x8004587d // XFS_IOC_GOINGDOWN
	shutdownNoFlush = 2          // XFS_FSOP_GOING_FLAGS_NOLOGFLUSH
	inodePercent    = 25         // mkfs.xfs's -i maxpct
	blockBytes      = 4096
	sectorOption    = "size=4096"
)

// formatPool makes the pool's file system, the one with reflinks.
func formatPool(ctx context.Context, image string) error {
	return runTool(ctx, "mkfs.xfs", "-q", "-K", "-s", sectorOption, "-m", "reflink=1", image)
}

// formatVolume makes a volume's file system. No reflink and no reverse map: they take space from the user that
// nothing here needs.
func formatVolume(ctx context.Context, image string) error {
	return runTool(ctx, "mkfs.xfs", "-q", "-K", "-s", sectorOption, "-m", "reflink=0,rmapbt=0",
		"-i", fmt.Sprintf("maxpct=%d", inodePercent), "-l", fmt.Sprintf("size=%d", logBytes), image)
}

// mountXFS mounts a loop device. Clones carry their origin's UUID, hence nouuid.
func mountXFS(device, path, options string) error {
	if options != "" {
		options += ","
	}
	if err := unix.Mount(device, path, "xfs", unix.MS_NOATIME, options+"nouuid"); err != nil {
		return fmt.Errorf("mount %s at %s: %w", device, path, err)
	}
	return nil
}

// growXFS grows the mounted file system to the given number of bytes of its device.
func growXFS(path string, imageBytes int64) error {
	arg := struct {
		blocks  uint64
		percent uint32
		_       uint32
	}{blocks: uint64(imageBytes) / blockBytes, percent: inodePercent}
	if err := ioctlPath(path, ioctlGrowData, unsafe.Pointer(&arg)); err != nil {
		return fmt.Errorf("grow the file system at %s: %w", path, err)
	}
	return nil
}

// freeze stops all writing to the file system at path; it is on disk then.
func freeze(path string) error {
	if err := ioctlPath(path, ioctlFreeze, nil); err != nil {
		return fmt.Errorf("freeze %s: %w", path, err)
	}
	return nil
}

// thaw undoes freeze. A file system that is not frozen is no error.
func thaw(path string) error {
	if err := ioctlPath(path, ioctlThaw, nil); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("thaw %s: %w", path, err)
	}
	return nil
}

// shutdown ends the file system at path for everyone who still holds it, as if its cable were pulled: nothing
// reaches the disk any more, and each use is an I/O error.
func shutdown(path string) error {
	flag := uint32(shutdownNoFlush)
	if err := ioctlPath(path, ioctlShutdown, unsafe.Pointer(&flag)); err != nil {
		return fmt.Errorf("shut down %s: %w", path, err)
	}
	return nil
}

func ioctlPath(path string, request uintptr, arg unsafe.Pointer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
	runtime.KeepAlive(f)
	if errno != 0 {
		return errno
	}
	return nil
}

// usage is what df shows.
type usage struct{ size, used, available int64 }

func diskUsage(path string) (usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return usage{}, fmt.Errorf("ask for the space at %s: %w", path, err)
	}
	return usage{
		size:      int64(st.Blocks) * st.Bsize,
		used:      int64(st.Blocks-st.Bfree) * st.Bsize,
		available: int64(st.Bavail) * st.Bsize,
	}, nil
}

func runTool(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, bytes.TrimSpace(out))
	}
	return nil
}
