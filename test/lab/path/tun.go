package path

import (
	"fmt"
	"os"
	"runtime"

	"github.com/pgspan/pgspan/test/lab/wan"
	"golang.org/x/sys/unix"
)

// openTUN makes a network device in the router's namespace: what is routed to it can be read, and what is written to it
// goes on as if it had come in there.
func openTUN(name string) (*os.File, error) {
	type result struct {
		fd  int
		err error
	}
	done := make(chan result, 1)
	go func() {
		// The thread stays in the foreign namespace, so it must end with this goroutine.
		runtime.LockOSThread()
		fd, err := makeTUN(name)
		done <- result{fd, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, r.err
	}
	return os.NewFile(uintptr(r.fd), name), nil
}

func makeTUN(name string) (int, error) {
	if err := wan.Enter(wan.Namespace); err != nil {
		return 0, err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("name device %s: %w", name, err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("make device %s: %w", name, err)
	}
	return fd, nil
}
