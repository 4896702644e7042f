package fault

import (
	"fmt"
	"strings"

	"github.com/pgspan/pgspan/test/lab/topology"
)

// tableName is the nftables table of the faults, one per family.
const tableName = "pgspan-lab-faults"

// Ruleset is the router's packet filter under the given faults, for nft -f. It replaces all earlier rules at once, so
// that no packet sees half of a change. Packets vanish; nothing is told to the sender, as with a broken line.
func Ruleset(lab topology.Lab, list []Fault) (string, error) {
	var routed, bridged []string
	for _, f := range list {
		if err := f.Check(lab); err != nil {
			return "", err
		}
		switch f.Kind {
		case CutSite:
			s, _ := lab.Site(f.Target)
			routed = append(routed, cutSite(s)...)
		case CutSites:
			from, _ := lab.Site(f.Target)
			to, _ := lab.Site(f.Other)
			routed = append(routed, cutPath(from, to))
			if !f.OneWay {
				routed = append(routed, cutPath(to, from))
			}
		case CutNode, FreezeNode:
			bridged = append(bridged, fmt.Sprintf("iifname %q drop", f.Target), fmt.Sprintf("oifname %q drop", f.Target))
		case CutFrom:
			bridged = append(bridged, fmt.Sprintf("iifname %q drop", f.Target))
		case CutTo:
			bridged = append(bridged, fmt.Sprintf("oifname %q drop", f.Target))
		case CutPeers:
			h, _ := lab.Node(f.Target)
			bridged = append(bridged, cutPeers(h)...)
		case CutAPI:
			h, _ := lab.Node(f.Target)
			bridged = append(bridged, cutAPI(h)...)
		}
	}
	var b strings.Builder
	table(&b, "inet", "forward", []string{"forward"}, routed)
	table(&b, "bridge", "all", []string{"forward", "input", "output"}, bridged)
	return b.String(), nil
}

// table writes one family's table: emptied when there are no rules, and otherwise one chain of rules that every hook
// jumps to.
func table(b *strings.Builder, family, chain string, hooks, rules []string) {
	fmt.Fprintf(b, "add table %s %s\ndelete table %[1]s %[2]s\n", family, tableName)
	if len(rules) == 0 {
		return
	}
	fmt.Fprintf(b, "table %s %s {\n\tchain rules-%s {\n", family, tableName, chain)
	for _, r := range rules {
		fmt.Fprintf(b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
	for _, hook := range hooks {
		fmt.Fprintf(b, "\tchain %s {\n\t\ttype filter hook %[1]s priority filter; policy accept;\n\t\tjump rules-%s\n\t}\n", hook, chain)
	}
	b.WriteString("}\n")
}

// cutSite goes by addresses, not links: under a delay the same packet passes the router twice, over other links.
func cutSite(s topology.Site) []string {
	api := s.ControlPlane().Address()
	return []string{
		fmt.Sprintf("ip saddr %s ip daddr %s tcp dport %d accept", topology.MachineAddress, api, topology.APIPort),
		fmt.Sprintf("ip saddr %s ip daddr %s tcp sport %d accept", api, topology.MachineAddress, topology.APIPort),
		fmt.Sprintf("ip saddr %s drop", s.Range()),
		fmt.Sprintf("ip daddr %s drop", s.Range()),
	}
}

func cutPath(from, to topology.Site) string {
	return fmt.Sprintf("ip saddr %s ip daddr %s drop", from.Range(), to.Range())
}

// cutAPI leaves the site's DNS, which lives on the API server's host, and the neighbours' addresses.
func cutAPI(h topology.Host) []string {
	api := h.Site.ControlPlane().Name
	there := fmt.Sprintf("iifname %q oifname %q ", h.Name, api)
	back := fmt.Sprintf("iifname %q oifname %q ", api, h.Name)
	return []string{
		there + "ip protocol udp udp dport 53 accept", back + "ip protocol udp udp sport 53 accept",
		there + "ip protocol tcp tcp dport 53 accept", back + "ip protocol tcp tcp sport 53 accept",
		there + "ip protocol {tcp, udp} drop", back + "ip protocol {tcp, udp} drop",
	}
}

// cutPeers goes by links: pods have addresses of their own.
func cutPeers(h topology.Host) []string {
	var rules []string
	for _, other := range h.Site.NodeHosts() {
		if other.Name != h.Name {
			rules = append(rules, fmt.Sprintf("iifname %q oifname %q drop", h.Name, other.Name), fmt.Sprintf("iifname %q oifname %q drop", other.Name, h.Name))
		}
	}
	return rules
}
