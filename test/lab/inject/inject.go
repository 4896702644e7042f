// Package inject brings faults into force and heals them. What is in force is recorded before it is brought about, so
// that a heal also undoes what was only half done.
package inject

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/command"
	"github.com/pgspan/pgspan/test/lab/controlplane"
	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/pgspan/pgspan/test/lab/wan"
)

// patience is how long one fault may take to come into force or to be healed.
const patience = time.Minute

// Do brings a fault into force. The same fault of another strength is replaced.
func Do(ctx context.Context, state lifecycle.State, f fault.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := f.Check(state.Lab); err != nil {
		return err
	}
	f, err := Resolve(ctx, f)
	if err != nil {
		return err
	}
	list, err := fault.InForce()
	if err != nil {
		return err
	}
	list = fault.Add(list, f)
	if err := fault.Record(list); err != nil {
		return err
	}
	if err := act(ctx, state, f, list); err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	return nil
}

func act(ctx context.Context, state lifecycle.State, f fault.Fault, list []fault.Fault) error {
	switch f.Kind {
	case fault.CutSite, fault.CutSites, fault.CutNode, fault.CutAPI, fault.CutPeers, fault.CutFrom, fault.CutTo:
		return filter(ctx, state.Lab, list)
	case fault.FreezeNode:
		if err := filter(ctx, state.Lab, list); err != nil {
			return err
		}
		return cgroup.Freeze(ctx, f.Target)
	case fault.KillNode:
		h, err := state.Lab.Node(f.Target)
		if err != nil {
			return err
		}
		return lifecycle.KillHost(ctx, h)
	case fault.StopAPI:
		return host.StopUnit(ctx, apiHost(state.Lab, f), controlplane.APIUnit)
	case fault.Bandwidth, fault.Delay:
		return carry(ctx, state.Lab, list, f)
	case fault.Fill, fault.Slow, fault.Hang:
		return lifecycle.SetVolumeFaults(ctx, f.Target, list)
	}
	return fmt.Errorf("%q cannot be done", f.Kind)
}

// Heal undoes the faults that match; with a nil match all of them. It returns what it undid.
func Heal(ctx context.Context, state lifecycle.State, match func(fault.Fault) bool) ([]fault.Fault, error) {
	list, err := fault.InForce()
	if err != nil {
		return nil, err
	}
	var healed []fault.Fault
	// The newest first: a disk that hangs is healed before the node that waits for it is started.
	for _, f := range slices.Backward(slices.Clone(list)) {
		if match != nil && !match(f) {
			continue
		}
		list = fault.Remove(list, f)
		if err := healOne(ctx, state, f, list); err != nil {
			return healed, fmt.Errorf("heal %s: %w", f, err)
		}
		if err := fault.Record(list); err != nil {
			return healed, err
		}
		healed = append(healed, f)
	}
	return healed, nil
}

func healOne(ctx context.Context, state lifecycle.State, f fault.Fault, left []fault.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch f.Kind {
	case fault.CutSite, fault.CutSites, fault.CutNode, fault.CutAPI, fault.CutPeers, fault.CutFrom, fault.CutTo:
		return filter(ctx, state.Lab, left)
	case fault.FreezeNode:
		if err := cgroup.Thaw(ctx, f.Target); err != nil {
			return err
		}
		return filter(ctx, state.Lab, left)
	case fault.KillNode:
		h, err := state.Lab.Node(f.Target)
		if err != nil {
			return err
		}
		return lifecycle.StartHost(ctx, h, build.Binaries{Dir: state.Binaries})
	case fault.StopAPI:
		return host.StartUnit(ctx, apiHost(state.Lab, f), controlplane.APIUnit)
	case fault.Bandwidth, fault.Delay:
		return carry(ctx, state.Lab, left, f)
	case fault.Fill, fault.Slow, fault.Hang:
		return lifecycle.SetVolumeFaults(ctx, f.Target, left)
	}
	return fmt.Errorf("%q cannot be healed", f.Kind)
}

// Resolve finds the volume that a fault's words mean, so that the record names it for good.
func Resolve(ctx context.Context, f fault.Fault) (fault.Fault, error) {
	switch f.Kind {
	case fault.Fill, fault.Slow, fault.Hang:
		name, err := lifecycle.FindVolume(ctx, f.Target)
		f.Target = name
		return f, err
	}
	return f, nil
}

func apiHost(lab topology.Lab, f fault.Fault) string {
	s, _ := lab.Site(f.Target)
	return s.ControlPlane().Name
}

// filter puts the router's rules in place.
func filter(ctx context.Context, lab topology.Lab, list []fault.Fault) error {
	rules, err := fault.Ruleset(lab, list)
	if err != nil {
		return err
	}
	_, err = command.Feed(ctx, rules, "ip", "netns", "exec", wan.Namespace, "nft", "-f", "-")
	return err
}
