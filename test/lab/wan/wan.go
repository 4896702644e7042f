// Package wan is the network between the lab's hosts: a namespace with one bridge per site and a router between them,
// one namespace per host, and one leg of the machine's own.
//
// Sites are routed, not bridged, to each other, so that a path between two sites can be cut, slowed and delayed apart
// from all others. Nothing has a route out of the lab.
package wan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgspan/pgspan/test/lab/command"
	"github.com/pgspan/pgspan/test/lab/topology"
)

const (
	prefix = "pgspan-lab-"
	// Namespace is the router's network namespace.
	Namespace = prefix + "wan"
	// MachineLink is the machine's leg.
	MachineLink = "pgspan-lab0"
	// MachinePort is the router's end of the machine's leg.
	MachinePort = "machine"
	netnsDir    = "/run/netns"
	// HostLink is the name of each host's only link, inside the host.
	HostLink = "eth0"
)

// HostNamespace names a host's network namespace.
func HostNamespace(host string) string { return prefix + host }

// NamespacePath is the file that holds a network namespace open.
func NamespacePath(namespace string) string { return filepath.Join(netnsDir, namespace) }

// Namespaces lists the lab's network namespaces that exist.
func Namespaces() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(netnsDir, prefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found, nil
}

// exists says whether a network namespace exists.
func exists(namespace string) bool {
	_, err := os.Stat(NamespacePath(namespace))
	return err == nil
}

// Up makes the router, the sites' bridges and the machine's leg.
func Up(ctx context.Context, lab topology.Lab) error {
	if exists(Namespace) {
		return nil
	}
	if _, err := command.Run(ctx, "ip", "netns", "add", Namespace); err != nil {
		return err
	}
	var inside strings.Builder
	fmt.Fprintf(&inside, "link set lo up\n")
	fmt.Fprintf(&inside, "link add %s type veth peer name %s netns 1\n", MachinePort, MachineLink)
	fmt.Fprintf(&inside, "addr add %s/24 dev %s\nlink set %s up\n", topology.MachineGateway, MachinePort, MachinePort)
	for _, s := range lab.Sites {
		fmt.Fprintf(&inside, "link add %s type bridge\n", s.Bridge())
		fmt.Fprintf(&inside, "addr add %s/24 dev %s\nlink set %s up\n", s.Gateway(), s.Bridge(), s.Bridge())
	}
	if err := batch(ctx, Namespace, inside.String()); err != nil {
		return err
	}
	// Packets between hosts of one site stay on the bridge, out of sight of the router's rules.
	if err := setSysctls(ctx, Namespace, "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=0",
		"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0", "net.ipv4.conf.all.send_redirects=0"); err != nil {
		return err
	}
	_, err := command.Feed(ctx, fmt.Sprintf("addr add %s/24 dev %s\nlink set %s up\nroute add %s via %s\n",
		topology.MachineAddress, MachineLink, MachineLink, topology.WAN, topology.MachineGateway), "ip", "-batch", "-")
	return err
}

// Attach makes a host's network namespace and connects it to its site's bridge.
func Attach(ctx context.Context, h topology.Host) error {
	ns := HostNamespace(h.Name)
	if exists(ns) {
		return nil
	}
	if _, err := command.Run(ctx, "ip", "netns", "add", ns); err != nil {
		return err
	}
	if err := batch(ctx, Namespace, fmt.Sprintf(
		"link add %[1]s type veth peer name %[2]s netns %[3]s\nlink set %[1]s master %[4]s\nlink set %[1]s up\n",
		h.Name, HostLink, ns, h.Site.Bridge())); err != nil {
		return err
	}
	if err := batch(ctx, ns, hostLines(h)); err != nil {
		return err
	}
	// Replies between pods of one node cross only its own bridge; kube-proxy must see them to undo its translation.
	if err := setSysctls(ctx, ns, "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1",
		"net.ipv4.conf.all.route_localnet=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"); err != nil {
		return err
	}
	if h.ControlPlane() {
		return nil
	}
	_, err := command.Feed(ctx, masquerade(h), "ip", "netns", "exec", ns, "nft", "-f", "-")
	return err
}

// hostLines are a host's addresses and routes. There is no default route; the services' range only needs some route,
// for kube-proxy's rules to act on.
func hostLines(h topology.Host) string {
	var b strings.Builder
	fmt.Fprintf(&b, "link set lo up\naddr add %s/24 dev %s\nlink set %s up\n", h.Address(), HostLink, HostLink)
	fmt.Fprintf(&b, "route add %s via %s\n", topology.WAN, h.Site.Gateway())
	fmt.Fprintf(&b, "route add %s dev %s\n", topology.ServiceRange, HostLink)
	for _, other := range h.Site.NodeHosts() {
		if other.Name != h.Name {
			fmt.Fprintf(&b, "route add %s via %s\n", other.PodRange(), other.Address())
		}
	}
	return b.String()
}

// masquerade gives pods their node's address towards everything that is not a pod of the site, as most networks do.
func masquerade(h topology.Host) string {
	return fmt.Sprintf(`table ip pgspan-lab {
	chain postrouting {
		type nat hook postrouting priority srcnat + 10; policy accept;
		ip saddr %s ip daddr != %s masquerade
	}
}
`, h.PodRange(), h.Site.PodRange())
}

// Detach removes a host's network namespace, and with it its link. To others the host is then as silent as a machine
// without power.
func Detach(ctx context.Context, host string) error {
	if !exists(HostNamespace(host)) {
		return nil
	}
	// The namespace itself lives until its last process has gone; the link must not.
	if exists(Namespace) {
		if _, err := command.Run(ctx, "ip", "-n", Namespace, "link", "del", host); err != nil &&
			!strings.Contains(err.Error(), "Cannot find device") {
			return err
		}
	}
	_, err := command.Run(ctx, "ip", "netns", "del", HostNamespace(host))
	return err
}

// Down removes the router, every host's namespace and the machine's leg.
func Down(ctx context.Context) error {
	all, err := Namespaces()
	if err != nil {
		return err
	}
	for _, ns := range all {
		if ns == Namespace {
			continue
		}
		if err := Detach(ctx, strings.TrimPrefix(ns, prefix)); err != nil {
			return err
		}
	}
	if _, err := os.Stat("/sys/class/net/" + MachineLink); err == nil {
		if _, err := command.Run(ctx, "ip", "link", "del", MachineLink); err != nil {
			return err
		}
	}
	if exists(Namespace) {
		if _, err := command.Run(ctx, "ip", "netns", "del", Namespace); err != nil {
			return err
		}
	}
	return nil
}

// batch runs many ip commands at once in a namespace.
func batch(ctx context.Context, namespace, lines string) error {
	_, err := command.Feed(ctx, lines, "ip", "-n", namespace, "-batch", "-")
	return err
}

func setSysctls(ctx context.Context, namespace string, settings ...string) error {
	args := append([]string{"netns", "exec", namespace, "sysctl", "-qw"}, settings...)
	_, err := command.Run(ctx, "ip", args...)
	return err
}
