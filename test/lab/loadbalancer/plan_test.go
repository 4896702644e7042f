package loadbalancer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/test/lab/topology"
)

func address(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

func TestPlan(t *testing.T) {
	lab, err := topology.New([]string{"a"}, 3)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"a1", "a2", "a3"}
	cases := map[string]struct {
		services []service
		holders  map[string]string
		// want has "key address node" lines, in any order.
		want     []string
		problems map[string]string
	}{
		"new_service_gets_first_address_on_first_node": {
			services: []service{{key: "n/s", serving: all}},
			want:     []string{"n/s 198.18.1.200 a1"},
		},
		"address_stays_on_its_node": {
			services: []service{{key: "n/s", address: address("198.18.1.203"), serving: all}},
			holders:  map[string]string{"198.18.1.203": "a3"},
			want:     []string{"n/s 198.18.1.203 a3"},
		},
		"holder_died": {
			services: []service{{key: "n/s", address: address("198.18.1.200"), serving: []string{"a2", "a3"}}},
			holders:  map[string]string{"198.18.1.200": "a1"},
			want:     []string{"n/s 198.18.1.200 a2"},
		},
		"all_nodes_died": {
			services: []service{{key: "n/s", address: address("198.18.1.200")}},
			holders:  map[string]string{"198.18.1.200": "a1"},
			want:     []string{"n/s 198.18.1.200 "},
		},
		"holder_died_and_least_loaded_takes_over": {
			services: []service{
				{key: "n/s1", address: address("198.18.1.200"), serving: []string{"a2", "a3"}},
				{key: "n/s2", address: address("198.18.1.201"), serving: []string{"a2", "a3"}},
			},
			holders: map[string]string{"198.18.1.200": "a1", "198.18.1.201": "a2"},
			want:    []string{"n/s1 198.18.1.200 a3", "n/s2 198.18.1.201 a2"},
		},
		"only_nodes_with_a_pod_of_the_service_take_part": {
			services: []service{
				{key: "n/cluster", address: address("198.18.1.200"), serving: all},
				{key: "n/local", address: address("198.18.1.201"), serving: []string{"a3"}},
			},
			holders: map[string]string{"198.18.1.200": "a1", "198.18.1.201": "a1"},
			want:    []string{"n/cluster 198.18.1.200 a1", "n/local 198.18.1.201 a3"},
		},
		"new_service_comes_first_in_the_list_and_takes_nobodys_address": {
			services: []service{{key: "n/new", serving: all}, {key: "n/old", address: address("198.18.1.200"), serving: all}},
			holders:  map[string]string{"198.18.1.200": "a1"},
			want:     []string{"n/new 198.18.1.201 a2", "n/old 198.18.1.200 a1"},
		},
		"two_services_claim_one_address": {
			services: []service{
				{key: "n/s1", address: address("198.18.1.200"), serving: all},
				{key: "n/s2", address: address("198.18.1.200"), serving: all},
			},
			holders: map[string]string{"198.18.1.200": "a2"},
			want:    []string{"n/s1 198.18.1.200 a2", "n/s2 198.18.1.201 a1"},
		},
		"wanted_address": {
			services: []service{{key: "n/s", wanted: address("198.18.1.230"), serving: all}},
			want:     []string{"n/s 198.18.1.230 a1"},
		},
		"wanted_address_changed": {
			services: []service{{key: "n/s", address: address("198.18.1.200"), wanted: address("198.18.1.230"), serving: all}},
			holders:  map[string]string{"198.18.1.200": "a3"},
			want:     []string{"n/s 198.18.1.230 a1"},
		},
		"wanted_address_is_taken": {
			services: []service{
				{key: "n/s1", address: address("198.18.1.230"), serving: all},
				{key: "n/s2", wanted: address("198.18.1.230"), serving: all},
			},
			holders:  map[string]string{"198.18.1.230": "a1"},
			want:     []string{"n/s1 198.18.1.230 a1"},
			problems: map[string]string{"n/s2": "taken by another service"},
		},
		"wanted_address_is_another_sites": {
			services: []service{{key: "n/s", wanted: address("198.18.2.200"), serving: all}},
			problems: map[string]string{"n/s": "198.18.1.200 to 198.18.1.249"},
		},
		"wanted_address_is_a_nodes": {
			services: []service{{key: "n/s", wanted: address("198.18.1.1"), serving: all}},
			problems: map[string]string{"n/s": "not one of the site's"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			holders := map[netip.Addr]string{}
			for a, node := range c.holders {
				holders[address(a)] = node
			}
			placed, problems := plan(lab.Sites[0], c.services, holders)
			got := map[string]bool{}
			for _, p := range placed {
				got[fmt.Sprintf("%s %s %s", p.key, p.address, p.node)] = true
			}
			if len(got) != len(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			for _, w := range c.want {
				if !got[w] {
					t.Errorf("got %v, want %q", got, w)
				}
			}
			if len(problems) != len(c.problems) {
				t.Errorf("got problems %v, want %v", problems, c.problems)
			}
			for key, w := range c.problems {
				if !strings.Contains(problems[key], w) {
					t.Errorf("got problem %q of %s, want %q", problems[key], key, w)
				}
			}
		})
	}
}

func TestPlanRunsOutOfAddresses(t *testing.T) {
	lab, err := topology.New([]string{"a"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var services []service
	for i := range topology.LastBalancer - topology.FirstBalancer + 2 {
		services = append(services, service{key: fmt.Sprintf("n/s%d", i), serving: []string{"a1"}})
	}
	placed, problems := plan(lab.Sites[0], services, nil)
	seen := map[netip.Addr]bool{}
	for _, p := range placed {
		if seen[p.address] {
			t.Errorf("address %s was given twice", p.address)
		}
		seen[p.address] = true
	}
	if len(placed) != len(services)-1 || len(problems) != 1 {
		t.Errorf("got %d placed and problems %v, want %d placed and one without an address", len(placed), problems, len(services)-1)
	}
}
