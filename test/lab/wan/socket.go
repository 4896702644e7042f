package wan

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dial connects from inside a network namespace. It takes only literal addresses: a name would be looked up outside.
func Dial(ctx context.Context, namespace, network, address string) (net.Conn, error) {
	return InNamespace(namespace, func() (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	})
}

// Listen accepts connections inside a network namespace.
func Listen(ctx context.Context, namespace, network, address string) (net.Listener, error) {
	return InNamespace(namespace, func() (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(ctx, network, address)
	})
}

// ListenPacket receives datagrams inside a network namespace.
func ListenPacket(ctx context.Context, namespace, network, address string) (net.PacketConn, error) {
	return InNamespace(namespace, func() (net.PacketConn, error) {
		return (&net.ListenConfig{}).ListenPacket(ctx, network, address)
	})
}

// enter moves the current thread into a network namespace.
func enter(namespace string) error {
	fd, err := unix.Open(NamespacePath(namespace), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", namespace, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", namespace, err)
	}
	return nil
}

// InNamespace runs something on a thread of a network namespace. What it opens there stays there.
func InNamespace[T any](namespace string, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		// A thread in a foreign namespace must never serve other goroutines: it stays locked, and so ends with
		// this one.
		runtime.LockOSThread()
		if err := enter(namespace); err != nil {
			var none T
			done <- result{none, err}
			return
		}
		value, err := do()
		done <- result{value, err}
	}()
	r := <-done
	return r.value, r.err
}
