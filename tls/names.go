package sitecerts

import (
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Services are the suffixes of the chart's Services that clients or members connect to.
var services = [...]string{"rw", "ro", "r", "cross", "pgpool", "pgbouncer", "members"}

// headless is the Service below which each pod has a name of its own; its names get a wildcard as well.
const headless = "members"

// ServerNames returns the names and addresses of the server certificate, sorted, each once.
//
// One certificate carries the names of all sites because a client with a multi-host URI, or a member after a
// switchover, must find the peer's name valid wherever the primary is.
func (s Spec) ServerNames() (names []string, addresses []net.IP) {
	var all []string
	for _, site := range s.Sites {
		if site.Host != "" {
			all = append(all, site.Host)
		}
		all = append(all, site.inClusterNames()...)
	}
	all = append(all, s.ExtraNames...)
	all = append(all, "localhost", "127.0.0.1", "::1")

	var ips []netip.Addr
	for _, name := range all {
		if address, err := netip.ParseAddr(name); err == nil {
			ips = append(ips, address.Unmap())
			continue
		}
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	slices.SortFunc(ips, netip.Addr.Compare)
	for _, address := range slices.Compact(ips) {
		addresses = append(addresses, address.AsSlice())
	}
	return slices.Compact(names), addresses
}

// inClusterNames are the names that the cluster's DNS gives the site's Services, in every form a client may write.
func (s Site) inClusterNames() []string {
	var names []string
	for _, service := range services {
		short := s.Fullname + "-" + service
		forms := []string{short}
		for _, namespace := range s.Namespaces {
			inNamespace := short + "." + namespace
			forms = append(forms, inNamespace, inNamespace+".svc", inNamespace+".svc."+s.ClusterDomain)
		}
		names = append(names, forms...)
		if service != headless {
			continue
		}
		for _, form := range forms {
			names = append(names, "*."+form)
		}
	}
	return names
}

// names are the names a leaf must carry; none for a client's.
func (l leaf) names(spec Spec) []string {
	if l.use != x509.ExtKeyUsageServerAuth {
		return nil
	}
	return certNames(spec.ServerNames())
}

func certNames(names []string, addresses []net.IP) []string {
	all := slices.Clone(names)
	for _, address := range addresses {
		all = append(all, address.String())
	}
	return all
}

// CommonNamespace is the one namespace of all sites, or nothing if they differ.
func (s Spec) CommonNamespace() string {
	common := ""
	for _, site := range s.Sites {
		for _, namespace := range site.Namespaces {
			if common != "" && namespace != common {
				return ""
			}
			common = namespace
		}
	}
	return common
}
