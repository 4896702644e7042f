package kube

import (
	"context"
	"fmt"
)

// LabelRevision is the label that Kubernetes gives each pod of a StatefulSet: the revision of the template that it was made from.
const LabelRevision = "controller-revision-hash"

// Set is a StatefulSet as far as we look at it.
type Set struct {
	Object
	Replicas int
	// Newest is the revision of the set's present template; empty: its controller has not seen the template yet.
	Newest string
}

// set is Set as the API writes it.
type set struct {
	Metadata struct {
		metadata
		Generation int64
	}
	Spec   struct{ Replicas *int }
	Status struct {
		ObservedGeneration int64
		UpdateRevision     string
	}
}

func (s set) value() Set {
	out := Set{Object: s.Metadata.object(), Replicas: 1}
	if s.Spec.Replicas != nil {
		out.Replicas = *s.Spec.Replicas
	}
	if s.Status.ObservedGeneration >= s.Metadata.Generation {
		out.Newest = s.Status.UpdateRevision
	}
	return out
}

// Set reads a StatefulSet.
func (c *Client) Set(ctx context.Context, name string) (Set, error) {
	var s set
	if err := c.do(ctx, request{method: "GET", group: groupApps, resource: "statefulsets", name: name}, &s); err != nil {
		return Set{}, fmt.Errorf("read StatefulSet %s: %w", name, err)
	}
	return s.value(), nil
}

// DeletePod asks for the end of a pod, in its own grace period. It must be the very pod: another of the same name is left alone, which is no
// error, and neither is one that is gone.
func (c *Client) DeletePod(ctx context.Context, name, uid string) error {
	body := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]string{"uid": uid}}
	err := c.do(ctx, request{method: "DELETE", group: groupCore, resource: pods, name: name, body: body}, nil)
	if err != nil && !IsNotFound(err) && !IsConflict(err) {
		return fmt.Errorf("delete pod %s: %w", name, err)
	}
	return nil
}
