package kube

import (
	"context"
	"fmt"
	"time"
)

// Lease is a Lease object. It remembers what it was read as, so that writing it back changes nothing else.
type Lease struct {
	Object
	Holder   string
	Duration time.Duration // whole seconds, rounded up when written
	Renewed  time.Time     // for people; nothing decides by it

	raw raw
}

// microTime is how Lease writes times.
const microTime = "2006-01-02T15:04:05.000000Z07:00"

// Lease reads a Lease.
func (c *Client) Lease(ctx context.Context, name string) (Lease, error) {
	l, err := c.lease(ctx, request{method: "GET", name: name})
	if err != nil {
		return Lease{}, fmt.Errorf("read lease %s: %w", name, err)
	}
	return l, nil
}

// CreateLease makes a Lease that does not exist yet and returns it with its version.
func (c *Client) CreateLease(ctx context.Context, l Lease) (Lease, error) {
	made, err := c.lease(ctx, request{method: "POST", body: l.object()})
	if err != nil {
		return Lease{}, fmt.Errorf("create lease %s: %w", l.Name, err)
	}
	return made, nil
}

// UpdateLease replaces a Lease that was read, if it is still at that version.
func (c *Client) UpdateLease(ctx context.Context, l Lease) (Lease, error) {
	if l.Version == "" { // the API server would take it for "whatever the version"
		return Lease{}, fmt.Errorf("replace lease %s: no version", l.Name)
	}
	made, err := c.lease(ctx, request{method: "PUT", name: l.Name, body: l.object()})
	if err != nil {
		return Lease{}, fmt.Errorf("replace lease %s: %w", l.Name, err)
	}
	return made, nil
}

// TryLease reports why a Lease could not be written now; nothing is changed. Somebody else's write in between is no reason.
func (c *Client) TryLease(ctx context.Context, name string) error {
	l, err := c.Lease(ctx, name)
	if err != nil {
		return err
	}
	if _, err := c.lease(ctx, request{method: "PUT", name: name, body: l.object(), dry: true}); err != nil && !IsConflict(err) {
		return fmt.Errorf("try to replace lease %s: %w", name, err)
	}
	return nil
}

func (c *Client) lease(ctx context.Context, r request) (Lease, error) {
	r.group, r.resource = groupLease, "leases"
	o := raw{}
	if err := c.do(ctx, r, &o); err != nil {
		return Lease{}, err
	}
	var known struct {
		Metadata metadata
		Spec     struct {
			HolderIdentity       string
			LeaseDurationSeconds int64
			RenewTime            time.Time
		}
	}
	if err := o.into(&known); err != nil {
		return Lease{}, fmt.Errorf("decode lease: %w", err)
	}
	if known.Metadata.ResourceVersion == "" {
		return Lease{}, fmt.Errorf("decode lease: it has no version")
	}
	return Lease{Object: known.Metadata.object(), Holder: known.Spec.HolderIdentity,
		Duration: time.Duration(known.Spec.LeaseDurationSeconds) * time.Second, Renewed: known.Spec.RenewTime, raw: o}, nil
}

func (l Lease) object() raw {
	o := l.raw.clone()
	o.set("coordination.k8s.io/v1", "Lease", l.Object)
	spec := o.part("spec")
	renewed := l.Renewed.UTC().Format(microTime)
	if spec["holderIdentity"] != l.Holder {
		transitions := 0.0
		if n, ok := spec["leaseTransitions"].(float64); ok {
			transitions = n + 1
		}
		spec["leaseTransitions"], spec["acquireTime"], spec["holderIdentity"] = transitions, renewed, l.Holder
		if l.Holder == "" {
			delete(spec, "holderIdentity")
		}
	}
	spec["leaseDurationSeconds"] = int64((l.Duration + time.Second - 1) / time.Second)
	spec["renewTime"] = renewed
	return o
}
