// Package loadbalancer does for a site what a cloud's load balancer does: it gives each Service of type LoadBalancer an
// address, keeps that address on a node that serves it, and moves it when the node stops serving.
package loadbalancer

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/pgspan/pgspan/test/lab/topology"
)

// service is what the plan knows of a Service.
type service struct {
	// key is namespace/name.
	key string
	// address is the one it has, if any; wanted is the one its spec asks for, if any.
	address, wanted netip.Addr
	// serving are the nodes that pass the Service's health check, in the nodes' order.
	serving []string
}

// placement is where a Service's address belongs.
type placement struct {
	key     string
	address netip.Addr
	// node is empty when no node serves: the address then stays where it is.
	node string
}

// plan gives every service an address and a node. Services without an address come after those with one, so that
// nobody loses his. An address stays on its node as long as the node serves; a new place is the serving node with the
// fewest addresses. What cannot be done is told per service, in words for its events.
func plan(site topology.Site, services []service, holders map[netip.Addr]string) ([]placement, map[string]string) {
	services = slices.Clone(services)
	slices.SortStableFunc(services, func(a, b service) int {
		if a.address.IsValid() != b.address.IsValid() {
			if a.address.IsValid() {
				return -1
			}
			return 1
		}
		if a.wanted.IsValid() != b.wanted.IsValid() {
			if a.wanted.IsValid() {
				return -1
			}
			return 1
		}
		return 0
	})
	problems := map[string]string{}
	taken := map[netip.Addr]bool{}
	load := map[string]int{}
	var placed []placement
	for _, s := range services {
		address, problem := choose(site, s, taken)
		if problem != "" {
			problems[s.key] = problem
			continue
		}
		taken[address] = true
		p := placement{key: s.key, address: address}
		if holder := holders[address]; slices.Contains(s.serving, holder) {
			p.node = holder
			load[holder]++
		}
		placed = append(placed, p)
	}
	for i := range placed {
		if placed[i].node == "" {
			placed[i].node = leastLoaded(serving(services, placed[i].key), load)
			load[placed[i].node]++
		}
	}
	return placed, problems
}

// choose picks a service's address.
func choose(site topology.Site, s service, taken map[netip.Addr]bool) (netip.Addr, string) {
	if s.wanted.IsValid() {
		host := int(s.wanted.As4()[3])
		if !site.Range().Contains(s.wanted) || host < topology.FirstBalancer || host > topology.LastBalancer {
			return netip.Addr{}, fmt.Sprintf("address %s is not one of the site's: %s to %s", s.wanted,
				site.Address(topology.FirstBalancer), site.Address(topology.LastBalancer))
		}
		if taken[s.wanted] {
			return netip.Addr{}, fmt.Sprintf("address %s is taken by another service", s.wanted)
		}
		return s.wanted, ""
	}
	if s.address.IsValid() && site.Range().Contains(s.address) && !taken[s.address] {
		return s.address, ""
	}
	for host := topology.FirstBalancer; host <= topology.LastBalancer; host++ {
		if address := site.Address(host); !taken[address] {
			return address, ""
		}
	}
	return netip.Addr{}, "all addresses of the site are taken"
}

func serving(services []service, key string) []string {
	i := slices.IndexFunc(services, func(s service) bool { return s.key == key })
	return services[i].serving
}

// leastLoaded is the first of the nodes with the fewest addresses.
func leastLoaded(nodes []string, load map[string]int) string {
	best := ""
	for _, n := range nodes {
		if best == "" || load[n] < load[best] {
			best = n
		}
	}
	return best
}
