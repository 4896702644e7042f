package wan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"

	"github.com/pgspan/pgspan/test/lab/command"
	"github.com/pgspan/pgspan/test/lab/topology"
	"golang.org/x/sys/unix"
)

// AddAddress gives a host one more address, such as a load balancer's.
func AddAddress(ctx context.Context, host string, address netip.Addr) error {
	_, err := command.Run(ctx, "ip", "-n", HostNamespace(host), "addr", "replace", address.String()+"/32", "dev", HostLink)
	return err
}

// RemoveAddress takes an address from a host. A host that is gone has no addresses any more.
func RemoveAddress(ctx context.Context, host string, address netip.Addr) error {
	if !exists(HostNamespace(host)) {
		return nil
	}
	_, err := command.Run(ctx, "ip", "-n", HostNamespace(host), "addr", "del", address.String()+"/32", "dev", HostLink)
	if err != nil && strings.Contains(err.Error(), "Cannot assign requested address") {
		return nil
	}
	return err
}

// Addresses lists the addresses a host has beside its own.
func Addresses(ctx context.Context, h topology.Host) ([]netip.Addr, error) {
	if !exists(HostNamespace(h.Name)) {
		return nil, nil
	}
	out, err := command.Run(ctx, "ip", "-n", HostNamespace(h.Name), "-4", "-o", "addr", "show", "dev", HostLink)
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		p, err := netip.ParsePrefix(fields[3])
		if err != nil {
			return nil, fmt.Errorf("read addresses of %s: %w", h.Name, err)
		}
		if p.Addr() != h.Address() {
			found = append(found, p.Addr())
		}
	}
	return found, nil
}

// Forget makes every neighbour of a site look up anew who has an address, as after a gratuitous ARP.
func Forget(ctx context.Context, s topology.Site, address netip.Addr) error {
	namespaces := map[string]string{Namespace: s.Bridge()}
	for _, h := range s.Hosts() {
		namespaces[HostNamespace(h.Name)] = HostLink
	}
	for ns, link := range namespaces {
		if !exists(ns) {
			continue
		}
		if _, err := command.Run(ctx, "ip", "-n", ns, "neigh", "flush", "to", address.String(), "dev", link); err != nil {
			return err
		}
	}
	return nil
}

// Dial connects from inside a network namespace. It takes only literal addresses: a name would be looked up outside.
func Dial(ctx context.Context, namespace, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// A thread in a foreign namespace must never serve other goroutines: it stays locked, and so ends with
		// this one.
		runtime.LockOSThread()
		if err := Enter(namespace); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// Enter moves the current thread into a network namespace.
func Enter(namespace string) error {
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
