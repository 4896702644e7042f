// Package fault is the list of things that are wrong with a lab on purpose: how people write them, which are in force,
// and what the network's rules look like under them. It only decides; package inject acts.
package fault

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/topology"
)

// Kind is a sort of fault.
type Kind string

// The kinds of faults.
const (
	// CutSite separates a site from everything outside it, except the machine's way to the site's API server: whoever
	// tests must be able to watch.
	CutSite Kind = "cut site"
	// CutSites separates two sites from each other, or only the packets from the first to the second.
	CutSites Kind = "cut"
	// CutNode separates a node from everything.
	CutNode Kind = "cut node"
	// CutAPI separates a node from its API server; all else goes on, DNS included.
	CutAPI Kind = "cut api"
	// CutPeers separates a node from the other nodes of its site, and their pods; the API server and clients still reach it.
	CutPeers Kind = "cut peers"
	// CutFrom and CutTo lose the packets that a node sends, or those that are sent to it: a line that is broken one way.
	CutFrom Kind = "cut from"
	CutTo   Kind = "cut to"
	// KillNode takes a node's power away.
	KillNode Kind = "kill node"
	// FreezeNode stops a node where it stands, as a hypervisor does: its clock goes on, nothing else.
	FreezeNode Kind = "freeze node"
	// StopAPI stops a site's API server.
	StopAPI Kind = "stop api"
	// Bandwidth limits the path between two sites, in each direction.
	Bandwidth Kind = "bandwidth"
	// Delay makes the path between two sites longer, in each direction, and may lose packets.
	Delay Kind = "delay"
	// Fill uses up a volume's space.
	Fill Kind = "fill"
	// Slow limits what a volume's disk does in a second.
	Slow Kind = "slow"
	// Hang lets a volume's disk never answer.
	Hang Kind = "hang"
)

// Fault is one thing that is wrong.
type Fault struct {
	Kind Kind `json:"kind"`
	// Target is the site, node or volume; with two sites it is the first one and Other the second.
	Target string `json:"target"`
	Other  string `json:"other,omitempty"`
	OneWay bool   `json:"oneWay,omitempty"`
	// Percent is for Fill, Limit (as package volume reads it) for Slow.
	Percent int    `json:"percent,omitempty"`
	Limit   string `json:"limit,omitempty"`
	Path    Path   `json:"path,omitzero"`
}

// Path is how bad the path between two sites is, each way.
type Path struct {
	// Bits is the most the path carries in a second, 0 for no limit.
	Bits int64 `json:"bits,omitempty"`
	// Delay is added to each packet, up to Jitter more or less. Packets do not overtake each other.
	Delay  time.Duration `json:"delay,omitempty"`
	Jitter time.Duration `json:"jitter,omitempty"`
	// Loss is the share of packets that vanish, 0 to 1.
	Loss float64 `json:"loss,omitempty"`
}

// String is the fault as one writes it.
func (f Fault) String() string {
	words := []string{string(f.Kind)}
	if f.OneWay {
		words = append(words, "--one-way")
	}
	words = append(words, f.Target)
	if f.Other != "" {
		words = append(words, f.Other)
	}
	switch f.Kind {
	case Bandwidth:
		words = append(words, formatBits(f.Path.Bits))
	case Delay:
		text := f.Path.Delay.String()
		if f.Path.Jitter > 0 {
			text += "±" + f.Path.Jitter.String()
		}
		words = append(words, text)
		if f.Path.Loss > 0 {
			words = append(words, "loss", fmt.Sprintf("%g%%", 100*f.Path.Loss))
		}
	case Fill:
		words = append(words, fmt.Sprintf("%d%%", f.Percent))
	case Slow:
		words = append(words, f.Limit)
	}
	return strings.Join(words, " ")
}

// Same says whether both are the same fault, whatever its strength: the newer one replaces the older.
func (f Fault) Same(g Fault) bool {
	if f.Kind != g.Kind || f.OneWay != g.OneWay {
		return false
	}
	straight := f.Target == g.Target && f.Other == g.Other
	crossed := f.Target == g.Other && f.Other == g.Target && !f.OneWay
	return straight || crossed
}

// Add puts a fault on the list, in place of the same one if it is there.
func Add(list []Fault, f Fault) []Fault { return append(Remove(list, f), f) }

// Remove takes a fault off the list.
func Remove(list []Fault, f Fault) []Fault {
	return slices.DeleteFunc(slices.Clone(list), f.Same)
}

// Check refuses a fault of something the lab does not have.
func (f Fault) Check(lab topology.Lab) error {
	switch f.Kind {
	case CutSite, StopAPI:
		_, err := lab.Site(f.Target)
		return err
	case CutNode, CutAPI, CutPeers, CutFrom, CutTo, KillNode, FreezeNode:
		_, err := lab.Node(f.Target)
		return err
	case CutSites, Bandwidth, Delay:
		if f.Target == f.Other {
			return fmt.Errorf("%s: name two different sites", f.Kind)
		}
		if _, err := lab.Site(f.Target); err != nil {
			return err
		}
		_, err := lab.Site(f.Other)
		return err
	}
	return nil
}

// PathsOf joins the faults of each pair of sites, which the caller named in either order. The key is the pair in the
// order of the lab's sites.
func PathsOf(lab topology.Lab, list []Fault) map[[2]string]Path {
	order := map[string]int{}
	for _, s := range lab.Sites {
		order[s.Name] = s.Index
	}
	paths := map[[2]string]Path{}
	for _, f := range list {
		if f.Kind != Bandwidth && f.Kind != Delay {
			continue
		}
		pair := [2]string{f.Target, f.Other}
		if order[pair[0]] > order[pair[1]] {
			pair[0], pair[1] = pair[1], pair[0]
		}
		p := paths[pair]
		if f.Kind == Bandwidth {
			p.Bits = f.Path.Bits
		} else {
			p.Delay, p.Jitter, p.Loss = f.Path.Delay, f.Path.Jitter, f.Path.Loss
		}
		paths[pair] = p
	}
	return paths
}
