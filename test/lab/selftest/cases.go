package selftest

import (
	"time"

	"github.com/pgspan/pgspan/test/lab/topology"
)

// testCase is one fault and what is expected of it. Everything in broken and intact works before the fault and after
// its healing.
type testCase struct {
	// fault is as one writes it.
	fault []string
	// oneWay is the flag of a cut.
	oneWay bool
	// broken does not work under the fault, intact does.
	broken, intact []check
	// during works under the fault only.
	during []check
	// after works once the fault is healed.
	after []check
}

// cases are all faults. The names of sites and nodes are those of the lab.
func (b *bench) cases() []testCase {
	a, other := b.a1.Site, b.b1.Site
	inside := []check{b.podReaches(b.a1, b.a2), b.podReaches(b.a2, b.a1), b.apiAnswers(a)}
	elsewhere := []check{b.machineReaches(b.b1), b.apiAnswers(other)}
	acrossOut, acrossIn := b.podReaches(b.a1, b.b1), b.podReaches(b.b1, b.a1)
	claim := func(h topology.Host) string { return h.Site.Name + "/" + b.probes[h.Name].Namespace + "/" + probeName }
	return []testCase{
		{fault: []string{"cut", "site", a.Name},
			broken: []check{acrossOut, acrossIn, b.machineReaches(b.a1)},
			intact: join(inside, elsewhere)},
		{fault: []string{"cut", a.Name, other.Name},
			broken: []check{acrossOut, acrossIn},
			intact: join(inside, elsewhere, []check{b.machineReaches(b.a1)})},
		{fault: []string{"cut", a.Name, other.Name}, oneWay: true,
			broken: []check{acrossOut, b.datagramsArrive(b.a1, b.b1)},
			intact: join(inside, elsewhere, []check{b.machineReaches(b.a1), b.datagramsArrive(b.b1, b.a1)})},
		{fault: []string{"cut", "node", b.a2.Name},
			broken: []check{b.hostsMeet(b.a1, b.a2), b.nodeReachesAPI(b.a2), b.machineReaches(b.a2)},
			// Its load balancer's address was moved to the node that is now cut off.
			intact: join(elsewhere, []check{b.machineReaches(b.a1), b.apiAnswers(a)}),
			after:  []check{b.restarts(b.a2, 0)}},
		{fault: []string{"cut", "api", b.a2.Name},
			broken: []check{b.nodeReachesAPI(b.a2)},
			intact: join(elsewhere, []check{b.machineReaches(b.a2), b.hostsMeet(b.a1, b.a2), b.podResolves(b.a2)}),
			after:  []check{b.restarts(b.a2, 0)}},
		{fault: []string{"freeze", "node", b.a2.Name},
			broken: []check{b.hostsMeet(b.a1, b.a2), b.machineReaches(b.a2)},
			intact: join(elsewhere, []check{b.machineReaches(b.a1), b.apiAnswers(a)}),
			after:  []check{b.restarts(b.a2, 0)}},
		{fault: []string{"stop", "api", a.Name},
			broken: []check{b.apiAnswers(a), b.nodeReachesAPI(b.a2)},
			intact: join(elsewhere, []check{b.machineReaches(b.a1), b.machineReaches(b.a2), b.podResolves(b.a1)})},
		{fault: []string{"bandwidth", a.Name, other.Name, "10mbit"},
			broken: []check{b.carries(b.a1, b.b1, 50, 1e6), b.carries(b.b1, b.a1, 50, 1e6)},
			during: []check{b.carries(b.a1, b.b1, 6, 13), b.carries(b.b1, b.a1, 6, 13)},
			intact: join(inside, elsewhere, []check{acrossOut, b.carries(b.a1, b.a2, 50, 1e6)})},
		{fault: []string{"delay", a.Name, other.Name, "20ms±2ms", "loss", "10%"},
			broken: []check{b.roundTrip(b.a1, b.b1, 0, 15*time.Millisecond), b.loses(b.a1, b.b1, 0, 0.01)},
			during: []check{b.roundTrip(b.a1, b.b1, 36*time.Millisecond, 60*time.Millisecond), b.loses(b.a1, b.b1, 0.05, 0.16)},
			intact: join(inside, []check{b.roundTrip(b.a1, b.a2, 0, 15*time.Millisecond)})},
		{fault: []string{"fill", claim(b.a2), "100%"},
			broken: []check{b.writes(b.a2)}, intact: []check{b.writes(b.a1), b.machineReaches(b.a2)}},
		{fault: []string{"slow", claim(b.a2), "20iops"},
			broken: []check{b.writesWithin(b.a2, 0, 700*time.Millisecond)},
			during: []check{b.writesWithin(b.a2, 800*time.Millisecond, 8*time.Second)},
			intact: []check{b.writesWithin(b.a1, 0, 700*time.Millisecond)}},
		{fault: []string{"hang", claim(b.a2)},
			broken: []check{b.writes(b.a2)}, intact: []check{b.writes(b.a1), b.machineReaches(b.a2)}},
		// Last, because the pod is another one afterwards.
		{fault: []string{"kill", "node", b.a2.Name},
			broken: []check{b.hostsMeet(b.a1, b.a2), b.machineReaches(b.a2)},
			during: []check{b.volumeFollows(b.a2, b.a1)},
			intact: join(elsewhere, []check{b.machineReaches(b.a1), b.apiAnswers(a)}),
			after:  []check{b.backInService(b.a2), b.restarts(b.a2, 1), b.writes(b.a2)}},
	}
}

func join(lists ...[]check) []check {
	var all []check
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
