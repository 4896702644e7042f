package topology

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNewRefusesImpossibleShapes(t *testing.T) {
	cases := map[string]struct {
		sites []string
		nodes int
		want  string
	}{
		"no_site":                 {nil, 1, "1 to 15 sites, not 0"},
		"more_sites_than_ranges":  {strings.Split(strings.Repeat("a,", 15)+"a", ","), 1, "1 to 15 sites, not 16"},
		"no_node":                 {[]string{"a"}, 0, "1 to 15 nodes, not 0"},
		"more_nodes_than_ranges":  {[]string{"a"}, 16, "1 to 15 nodes, not 16"},
		"name_with_digit":         {[]string{"a1"}, 1, `site name "a1"`},
		"name_too_long_for_links": {[]string{"abcdefghi"}, 1, `site name "abcdefghi"`},
		"empty_name":              {[]string{""}, 1, `site name ""`},
		"same_name_twice":         {[]string{"a", "b", "a"}, 1, `site "a" is named twice`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := New(c.sites, c.nodes)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	lab, err := New([]string{"a", "b"}, 3)
	if err != nil {
		t.Fatal(err)
	}
	b2, err := lab.Node("b2")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"node", b2.Address().String(), "198.18.2.2"},
		{"pods of node", b2.PodRange().String(), "198.19.33.0/24"},
		{"pods of site", b2.Site.PodRange().String(), "198.19.32.0/20"},
		{"control plane", b2.Site.API(), "https://198.18.2.100:6443"},
		{"gateway", b2.Site.Gateway().String(), "198.18.2.254"},
		{"zone", b2.Zone(), "b-2"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, c.got, c.want)
		}
	}
}

// The largest lab is where addresses would run into each other.
func TestNothingOverlapsInTheLargestLab(t *testing.T) {
	var names []string
	for c := 'a'; c < 'a'+maxSites; c++ {
		names = append(names, string(c))
	}
	lab, err := New(names, maxNodes)
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[netip.Addr]string{}
	var ranges []netip.Prefix
	for _, h := range lab.Hosts() {
		if other, taken := addresses[h.Address()]; taken {
			t.Errorf("%s and %s have the same address %s", other, h.Name, h.Address())
		}
		addresses[h.Address()] = h.Name
		if !h.Site.Range().Contains(h.Address()) {
			t.Errorf("address %s of %s is outside %s", h.Address(), h.Name, h.Site.Range())
		}
		if host := int(h.Address().As4()[3]); host >= FirstBalancer && host <= LastBalancer {
			t.Errorf("address %s of %s is a load balancer's", h.Address(), h.Name)
		}
		if h.ControlPlane() {
			continue
		}
		for _, r := range ranges {
			if r.Overlaps(h.PodRange()) {
				t.Errorf("pods of %s share %s", h.Name, r)
			}
		}
		ranges = append(ranges, h.PodRange())
		if !h.Site.PodRange().Overlaps(h.PodRange()) {
			t.Errorf("pods %s of %s are outside %s", h.PodRange(), h.Name, h.Site.PodRange())
		}
	}
	machine := netip.MustParseAddr(MachineAddress)
	for _, s := range lab.Sites {
		if s.Range().Contains(machine) {
			t.Errorf("site %s has the machine's address", s.Name)
		}
	}
}

func TestNodeRefusesControlPlane(t *testing.T) {
	lab, err := New([]string{"a"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a-cp": "control plane of site a", "a2": `no node "a2"`} {
		if _, err := lab.Node(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, want)
		}
	}
}
