package fault

import (
	"strings"
	"testing"
)

// rules are the lines of a ruleset that decide about packets.
func rules(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasSuffix(line, " drop") || strings.HasSuffix(line, " accept") {
			found = append(found, line)
		}
	}
	return found
}

func TestRuleset(t *testing.T) {
	cases := map[string]struct{ faults, want []string }{
		"no_fault_has_no_rules": {nil, nil},
		"cut_site_leaves_only_the_watchers_way": {[]string{"cut site b"}, []string{
			"ip saddr 198.18.255.1 ip daddr 198.18.2.100 tcp dport 6443 accept",
			"ip saddr 198.18.2.100 ip daddr 198.18.255.1 tcp sport 6443 accept",
			"ip saddr 198.18.2.0/24 drop", "ip daddr 198.18.2.0/24 drop"}},
		"cut_sites_both_ways": {[]string{"cut a b"}, []string{
			"ip saddr 198.18.1.0/24 ip daddr 198.18.2.0/24 drop", "ip saddr 198.18.2.0/24 ip daddr 198.18.1.0/24 drop"}},
		"one_way_cut_leaves_the_way_back": {[]string{"one-way cut b a"}, []string{
			"ip saddr 198.18.2.0/24 ip daddr 198.18.1.0/24 drop"}},
		"cut_node_in_its_bridge": {[]string{"cut node a2"}, []string{`iifname "a2" drop`, `oifname "a2" drop`}},
		"frozen_node_is_silent":  {[]string{"freeze node a2"}, []string{`iifname "a2" drop`, `oifname "a2" drop`}},
		"cut_api_leaves_dns": {[]string{"cut api a2"}, []string{
			`iifname "a2" oifname "a-cp" ip protocol udp udp dport 53 accept`,
			`iifname "a-cp" oifname "a2" ip protocol udp udp sport 53 accept`,
			`iifname "a2" oifname "a-cp" ip protocol tcp tcp dport 53 accept`,
			`iifname "a-cp" oifname "a2" ip protocol tcp tcp sport 53 accept`,
			`iifname "a2" oifname "a-cp" ip protocol {tcp, udp} drop`,
			`iifname "a-cp" oifname "a2" ip protocol {tcp, udp} drop`}},
		"cut_peers_leaves_the_api_and_the_machine": {[]string{"cut peers a2"}, []string{`iifname "a2" oifname "a1" drop`, `iifname "a1" oifname "a2" drop`}},
		"cut_from_loses_what_the_node_sends":       {[]string{"cut from a2"}, []string{`iifname "a2" drop`}},
		"cut_to_loses_what_is_sent_to_the_node":    {[]string{"cut to a2"}, []string{`oifname "a2" drop`}},
		"faults_elsewhere_have_no_rules":           {[]string{"delay a b 1ms", "kill node a1", "stop api a", "fill x 100%"}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text, err := Ruleset(lab(t), parsed(t, c.faults...))
			if err != nil {
				t.Fatal(err)
			}
			got := rules(text)
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			for _, family := range []string{"inet", "bridge"} {
				if !strings.Contains(text, "delete table "+family+" "+tableName) {
					t.Errorf("earlier rules of family %s stay:\n%s", family, text)
				}
			}
		})
	}
}

func TestRulesetRefusesUnknownNames(t *testing.T) {
	if _, err := Ruleset(lab(t), []Fault{{Kind: CutNode, Target: "z1"}}); err == nil {
		t.Error("a ruleset for a node that does not exist was made")
	}
}
