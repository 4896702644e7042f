package path

import (
	"fmt"
	"os"

	"github.com/pgspan/pgspan/test/lab/wan"
	"golang.org/x/sys/unix"
)

// openTUN makes a network device in the router's namespace: what is routed to it can be read, and what is written to it
// goes on as if it had come in there.
func openTUN(name string) (*os.File, error) {
	fd, err := wan.InNamespace(wan.Namespace, func() (int, error) { return makeTUN(name) })
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func makeTUN(name string) (int, error) {
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
