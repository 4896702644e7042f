package wan

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pgspan/pgspan/test/lab/command"
	"github.com/pgspan/pgspan/test/lab/topology"
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
	if err != nil && (strings.Contains(err.Error(), "Cannot assign requested address") ||
		strings.Contains(err.Error(), "Address not found")) {
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
