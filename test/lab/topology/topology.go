// Package topology is the plan of a lab: which sites it has, which hosts they are made of, and every name and
// address that follows from that. It asks nothing of the machine, so that all other parts can agree without talking.
//
// The lab lives in 198.18.0.0/15, the range set aside for benchmarks: 198.18.SITE.N are hosts, 198.18.SITE.200 to 249
// load balancers, 198.19.0.0/16 pods. No packet of it can leave the machine.
package topology

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Addresses that every site of every lab shares.
const (
	// WAN is the range of all hosts and load balancers.
	WAN = "198.18.0.0/16"
	// ServiceRange is each site's range of cluster addresses; sites do not see each other's.
	ServiceRange = "10.96.0.0/16"
	// KubernetesService is the API server's cluster address, the first of ServiceRange.
	KubernetesService = "10.96.0.1"
	// DNSService is the cluster address of a site's DNS.
	DNSService = "10.96.0.10"
	// ClusterDomain is the DNS domain of each site.
	ClusterDomain = "cluster.local"
	// MachineAddress is the machine's own leg in the lab: clients, the registry.
	MachineAddress = "198.18.255.1"
	// MachineGateway is what the machine's leg is connected to.
	MachineGateway = "198.18.255.254"
	// RegistryAddress is where the lab's registry listens.
	RegistryAddress = MachineAddress + ":5000"
	// RegistryName is the name under which nodes pull from the lab's registry.
	RegistryName = "registry.lab"
	// APIPort is the API servers' port.
	APIPort = 6443
)

const (
	maxSites    = 15
	maxNodes    = 15
	apiHost     = 100
	gatewayHost = 254
	// FirstBalancer and LastBalancer bound the host part of a site's load balancer addresses.
	FirstBalancer = 200
	LastBalancer  = 249
)

var siteName = regexp.MustCompile(`^[a-z]{1,8}$`)

// Lab is the shape of a lab.
type Lab struct {
	Sites []Site `json:"sites"`
}

// Site is one Kubernetes cluster.
type Site struct {
	Name string `json:"name"`
	// Index is the site's number in addresses, from 1.
	Index int `json:"index"`
	// Nodes is how many nodes carry pods.
	Nodes int `json:"nodes"`
}

// New plans a lab of the named sites with the same number of nodes each.
func New(sites []string, nodes int) (Lab, error) {
	if len(sites) == 0 || len(sites) > maxSites {
		return Lab{}, fmt.Errorf("a lab has 1 to %d sites, not %d", maxSites, len(sites))
	}
	if nodes < 1 || nodes > maxNodes {
		return Lab{}, fmt.Errorf("a site has 1 to %d nodes, not %d", maxNodes, nodes)
	}
	var lab Lab
	seen := map[string]bool{}
	for i, name := range sites {
		if !siteName.MatchString(name) {
			return Lab{}, fmt.Errorf("site name %q: use 1 to 8 lower-case letters", name)
		}
		if seen[name] {
			return Lab{}, fmt.Errorf("site %q is named twice", name)
		}
		seen[name] = true
		lab.Sites = append(lab.Sites, Site{Name: name, Index: i + 1, Nodes: nodes})
	}
	return lab, nil
}

// String tells the shape in words.
func (l Lab) String() string {
	var parts []string
	for _, s := range l.Sites {
		parts = append(parts, fmt.Sprintf("%s (%d nodes)", s.Name, s.Nodes))
	}
	return strings.Join(parts, ", ")
}

// Equal says whether both labs have the same shape.
func (l Lab) Equal(other Lab) bool { return l.String() == other.String() }

// Site finds a site by name.
func (l Lab) Site(name string) (Site, error) {
	for _, s := range l.Sites {
		if s.Name == name {
			return s, nil
		}
	}
	return Site{}, fmt.Errorf("the lab has no site %q, only %s", name, l)
}

// Host finds a node by name.
func (l Lab) Host(name string) (Host, error) {
	for _, h := range l.Hosts() {
		if h.Name == name {
			return h, nil
		}
	}
	return Host{}, fmt.Errorf("the lab has no node %q, only %s", name, l)
}

// Node finds a node, and refuses a control plane.
func (l Lab) Node(name string) (Host, error) {
	h, err := l.Host(name)
	if err == nil && h.ControlPlane() {
		return Host{}, fmt.Errorf("%q is the control plane of site %s, not a node", name, h.Site.Name)
	}
	return h, err
}

// Hosts are all machines of the lab, each site's control plane first.
func (l Lab) Hosts() []Host {
	var hosts []Host
	for _, s := range l.Sites {
		hosts = append(hosts, s.Hosts()...)
	}
	return hosts
}

// Host is one machine of the lab: a node, or the host of a control plane.
type Host struct {
	Name string
	Site Site
	// Number is the node's number in its site from 1, and 0 for the control plane.
	Number int
}

// ControlPlane says whether the host carries the control plane instead of pods.
func (h Host) ControlPlane() bool { return h.Number == 0 }

// Address is the host's own address.
func (h Host) Address() netip.Addr {
	if h.ControlPlane() {
		return h.Site.Address(apiHost)
	}
	return h.Site.Address(h.Number)
}

// PodRange is the range of the node's pods.
func (h Host) PodRange() netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("198.19.%d.0/24", 16*h.Site.Index+h.Number-1))
}

// Zone is the node's availability zone; a site has three.
func (h Host) Zone() string { return h.Site.Name + "-" + strconv.Itoa((h.Number-1)%3+1) }

// ControlPlane is the host of the site's control plane.
func (s Site) ControlPlane() Host { return Host{Name: s.Name + "-cp", Site: s} }

// NodeHosts are the site's nodes.
func (s Site) NodeHosts() []Host {
	var hosts []Host
	for n := 1; n <= s.Nodes; n++ {
		hosts = append(hosts, Host{Name: s.Name + strconv.Itoa(n), Site: s, Number: n})
	}
	return hosts
}

// Hosts are all hosts of the site, the control plane first.
func (s Site) Hosts() []Host { return append([]Host{s.ControlPlane()}, s.NodeHosts()...) }

// Address is the site's address with the given host part.
func (s Site) Address(host int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(s.Index), byte(host)})
}

// Range is the range of the site's hosts and load balancers.
func (s Site) Range() netip.Prefix { return netip.PrefixFrom(s.Address(0), 24) }

// Gateway is where the site's hosts send what is not for their own site.
func (s Site) Gateway() netip.Addr { return s.Address(gatewayHost) }

// PodRange holds the pod ranges of all the site's nodes.
func (s Site) PodRange() netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("198.19.%d.0/20", 16*s.Index))
}

// Bridge is the name of the bridge the site's hosts are connected to.
func (s Site) Bridge() string { return "br-" + s.Name }

// API is the URL of the site's API server.
func (s Site) API() string {
	return fmt.Sprintf("https://%s:%d", s.ControlPlane().Address(), APIPort)
}
