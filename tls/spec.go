// Package sitecerts turns the list of sites, the same one the chart reads, into certificates: a CA, one server
// certificate with the names and addresses of every site, and a client certificate for each login that pgspan
// makes by certificate. (The directory is tls; the package is not called so because every user of it needs
// crypto/tls as well.)
//
// All sites of a topology must trust one CA, so the certificates are made once, outside the clusters, and the one
// Secret is applied at every site. A CA made per site would separate them. With one site only, the certificates
// may be made inside it: [Generate] and [RenewIfDue].
//
// Nothing here reads the clock: the time comes in as a value.
package sitecerts

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// Default lifetimes.
//
// The CA outlives everything, because replacing it takes two roll-outs at every site (first trust both, then
// reissue). Leafs live one year: long enough that a person who renews by hand is bothered once a year and has four
// months after the renewal at two thirds in which the metric and the alert can be acted on; short enough that
// rotation, which reloads and never restarts, is practised and not met for the first time after many years.
const (
	DefaultCALife   = 3650 * 24 * time.Hour
	DefaultLeafLife = 365 * 24 * time.Hour
	// Backdate is how far before the present certificates begin, for nodes whose clocks are behind.
	Backdate = time.Hour
)

// Spec says what the certificates are to be.
type Spec struct {
	Sites      []Site        // may be empty if ExtraNames says all, see SameNames
	ExtraNames []string      // further DNS names (a wildcard as first label is allowed) or IP addresses
	CALife     time.Duration // 0 = DefaultCALife
	LeafLife   time.Duration // 0 = DefaultLeafLife
}

// Site is one Kubernetes cluster with one release of the chart.
type Site struct {
	Name          string   // key in the site list; empty when there is no list
	Host          string   // external DNS name or IP address of the cross-site Service; may be empty with one site only
	Fullname      string   // the chart's full name: prefix of every Service
	Namespaces    []string // where the release is, or may be, installed
	ClusterDomain string   // for example cluster.local
}

func (s Site) label() string {
	if s.Name == "" {
		return "the site"
	}
	return "site " + s.Name
}

func (s Spec) caLife() time.Duration {
	if s.CALife == 0 {
		return DefaultCALife
	}
	return s.CALife
}

func (s Spec) leafLife() time.Duration {
	if s.LeafLife == 0 {
		return DefaultLeafLife
	}
	return s.LeafLife
}

var (
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	hasPort  = regexp.MustCompile(`^[^:]+:[0-9]+$`)
)

// Validate reports everything that is wrong with the spec at once, in the operator's words.
func (s Spec) Validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if len(s.Sites) == 0 && len(s.ExtraNames) == 0 {
		add("there is no site: list them under sites in the values")
	}
	for _, site := range s.Sites {
		if site.Host == "" && len(s.Sites) > 1 {
			add("%s has no host: the other sites reach it there and check that its certificate says so", site.label())
		}
		if site.Host != "" {
			if why := badName(site.Host, false); why != "" {
				add("host %q of %s %s", site.Host, site.label(), why)
			}
		}
		if site.Fullname == "" {
			add("%s has no release name: give --release, or release in its entry of the site list", site.label())
		} else if !dnsLabel.MatchString(site.Fullname) {
			add("full name %q of %s cannot begin the name of a Service", site.Fullname, site.label())
		}
		if len(site.Namespaces) == 0 {
			add("%s has no namespace: give --namespace, or namespace in its entry of the site list", site.label())
		}
		for _, namespace := range site.Namespaces {
			if !dnsLabel.MatchString(namespace) {
				add("namespace %q of %s is not a valid name", namespace, site.label())
			}
		}
		if why := badName(site.ClusterDomain, false); why != "" {
			add("cluster domain %q of %s %s", site.ClusterDomain, site.label(), why)
		}
	}
	for _, name := range s.ExtraNames {
		if why := badName(name, true); why != "" {
			add("extra name %q %s", name, why)
		}
	}
	if s.leafLife() < 3*Backdate {
		add("certificates must be valid for more than %s", 3*Backdate)
	}
	if s.leafLife() > s.caLife() {
		add("certificates valid for %s would outlive their CA (%s)", s.leafLife(), s.caLife())
	}
	return errors.Join(problems...)
}

// badName says why a name cannot stand in a certificate, or nothing.
func badName(name string, wildcard bool) string {
	if address, err := netip.ParseAddr(name); err == nil {
		if address.Zone() != "" {
			return "is an address with a zone, which means something on one machine only"
		}
		if address.IsUnspecified() {
			return "is the address of nobody"
		}
		return ""
	}
	switch {
	case name == "":
		return "is empty"
	case strings.HasPrefix(name, "["):
		return "must be written without brackets"
	case strings.Contains(name, "://"):
		return "must be a name or an address, not a URL"
	case hasPort.MatchString(name):
		return "must be written without the port"
	case len(name) > 253:
		return "is longer than a DNS name may be"
	}
	labels := strings.Split(name, ".")
	if wildcard && labels[0] == "*" && len(labels) > 1 {
		labels = labels[1:]
	}
	for _, label := range labels {
		if !dnsLabel.MatchString(strings.ToLower(label)) {
			return "is neither a DNS name nor an IP address"
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "looks like an IP address but is none"
	}
	return ""
}
