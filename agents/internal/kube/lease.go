package kube

import (
	"context"
	"fmt"
	"maps"
	"time"

	coordination "k8s.io/api/coordination/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Lease is a Lease object. It remembers what it was read as, so that writing it back changes nothing else.
type Lease struct {
	Object
	Holder   string
	Duration time.Duration // whole seconds, rounded up when written
	Renewed  time.Time     // for people; nothing decides by it

	raw *coordination.Lease
}

// Lease reads a Lease.
func (c *Client) Lease(ctx context.Context, name string) (Lease, error) {
	var l coordination.Lease
	if err := c.do(ctx, c.leases.Get().Namespace(c.namespace).Resource("leases").Name(name), &l); err != nil {
		return Lease{}, fmt.Errorf("read lease %s: %w", name, err)
	}
	return leaseFrom(&l), nil
}

// CreateLease makes a Lease that does not exist yet and returns it with its version.
func (c *Client) CreateLease(ctx context.Context, l Lease) (Lease, error) {
	var made coordination.Lease
	if err := c.do(ctx, c.leases.Post().Namespace(c.namespace).Resource("leases").Body(l.object()), &made); err != nil {
		return Lease{}, fmt.Errorf("create lease %s: %w", l.Name, err)
	}
	return leaseFrom(&made), nil
}

// UpdateLease replaces a Lease that was read, if it is still at that version.
func (c *Client) UpdateLease(ctx context.Context, l Lease) (Lease, error) {
	var made coordination.Lease
	if l.Version == "" { // the API server would take it for "whatever the version"
		return Lease{}, fmt.Errorf("replace lease %s: no version", l.Name)
	}
	if err := c.do(ctx, c.leases.Put().Namespace(c.namespace).Resource("leases").Name(l.Name).Body(l.object()), &made); err != nil {
		return Lease{}, fmt.Errorf("replace lease %s: %w", l.Name, err)
	}
	return leaseFrom(&made), nil
}

func leaseFrom(raw *coordination.Lease) Lease {
	l := Lease{Object: objectFrom(raw), raw: raw}
	if raw.Spec.HolderIdentity != nil {
		l.Holder = *raw.Spec.HolderIdentity
	}
	if raw.Spec.LeaseDurationSeconds != nil {
		l.Duration = time.Duration(*raw.Spec.LeaseDurationSeconds) * time.Second
	}
	if raw.Spec.RenewTime != nil {
		l.Renewed = raw.Spec.RenewTime.Time
	}
	return l
}

func (l Lease) object() *coordination.Lease {
	o := &coordination.Lease{}
	if l.raw != nil {
		o = l.raw.DeepCopy()
	}
	o.Name, o.ResourceVersion = l.Name, l.Version
	o.Labels, o.Annotations = maps.Clone(l.Labels), maps.Clone(l.Annotations)
	seconds := int32((l.Duration + time.Second - 1) / time.Second)
	renewed := meta.NewMicroTime(l.Renewed)
	if o.Spec.HolderIdentity == nil || *o.Spec.HolderIdentity != l.Holder {
		holder, transitions := l.Holder, int32(0)
		if o.Spec.LeaseTransitions != nil {
			transitions = *o.Spec.LeaseTransitions + 1
		}
		o.Spec.HolderIdentity, o.Spec.LeaseTransitions, o.Spec.AcquireTime = &holder, &transitions, &renewed
	}
	o.Spec.LeaseDurationSeconds, o.Spec.RenewTime = &seconds, &renewed
	return o
}
