package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Object is what every object has.
type Object struct {
	Name        string
	UID         string
	Version     string // resourceVersion: opaque, only compared for equality
	Labels      map[string]string
	Annotations map[string]string
}

// metadata is Object as the API writes it.
type metadata struct {
	Name              string
	UID               string
	ResourceVersion   string
	Labels            map[string]string
	Annotations       map[string]string
	DeletionTimestamp *time.Time
}

func (m metadata) object() Object {
	return Object{Name: m.Name, UID: m.UID, Version: m.ResourceVersion, Labels: m.Labels, Annotations: m.Annotations}
}

// Pod is a pod as far as we look at it.
type Pod struct {
	Object
	IPs      []string
	Node     string
	Deleting bool // has a deletion timestamp
	Ready    bool
	Waiting  string // why a container of it cannot be started, in Kubernetes' word ("ImagePullBackOff"); empty: none waits
}

// container is a container's status as the API writes it.
type container struct {
	State struct{ Waiting *struct{ Reason string } }
}

// pod is Pod as the API writes it.
type pod struct {
	Metadata metadata
	Spec     struct{ NodeName string }
	Status   struct {
		PodIPs     []struct{ IP string }
		Conditions []struct{ Type, Status string }

		InitContainerStatuses, ContainerStatuses []container
	}
}

func (p pod) value() Pod {
	out := Pod{Object: p.Metadata.object(), Node: p.Spec.NodeName, Deleting: p.Metadata.DeletionTimestamp != nil}
	for _, ip := range p.Status.PodIPs {
		out.IPs = append(out.IPs, ip.IP)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			out.Ready = c.Status == "True"
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && w.Reason != "PodInitializing" && w.Reason != "ContainerCreating" && out.Waiting == "" {
			out.Waiting = w.Reason
		}
	}
	return out
}

// Claim is a PersistentVolumeClaim. Its UID is the member's id.
type Claim struct {
	Object
	Deleting bool  // has a deletion timestamp
	Request  int64 // bytes asked for; 0 when that cannot be read
	Capacity int64 // bytes of the bound volume; 0 when it is not bound
}

// claim is Claim as the API writes it.
type claim struct {
	Metadata metadata
	Spec     struct {
		Resources struct{ Requests map[string]string }
	}
	Status struct{ Capacity map[string]string }
}

func (c claim) value() Claim {
	out := Claim{Object: c.Metadata.object(), Deleting: c.Metadata.DeletionTimestamp != nil}
	out.Request, _ = Bytes(c.Spec.Resources.Requests["storage"])
	out.Capacity, _ = Bytes(c.Status.Capacity["storage"])
	return out
}

// Bytes reads a quantity as Kubernetes writes it.
func Bytes(quantity string) (int64, error) {
	if quantity == "" {
		return 0, nil
	}
	q, err := resource.ParseQuantity(quantity)
	if err != nil {
		return 0, fmt.Errorf("quantity %q: %w", quantity, err)
	}
	return q.Value(), nil
}

const (
	pods   = "pods"
	claims = "persistentvolumeclaims"
)

// Pod reads one pod.
func (c *Client) Pod(ctx context.Context, name string) (Pod, error) {
	var p pod
	if err := c.do(ctx, request{method: "GET", group: groupCore, resource: pods, name: name}, &p); err != nil {
		return Pod{}, fmt.Errorf("read pod %s: %w", name, err)
	}
	return p.value(), nil
}

// Pods lists pods by label selector.
func (c *Client) Pods(ctx context.Context, selector string) ([]Pod, error) {
	var list struct{ Items []pod }
	if err := c.do(ctx, request{method: "GET", group: groupCore, resource: pods, selector: selector}, &list); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	out := make([]Pod, 0, len(list.Items))
	for _, p := range list.Items {
		out = append(out, p.value())
	}
	return out, nil
}

// Claim reads one PersistentVolumeClaim.
func (c *Client) Claim(ctx context.Context, name string) (Claim, error) {
	var p claim
	if err := c.do(ctx, request{method: "GET", group: groupCore, resource: claims, name: name}, &p); err != nil {
		return Claim{}, fmt.Errorf("read volume claim %s: %w", name, err)
	}
	return p.value(), nil
}

// Claims lists PersistentVolumeClaims by label selector.
func (c *Client) Claims(ctx context.Context, selector string) ([]Claim, error) {
	var list struct{ Items []claim }
	if err := c.do(ctx, request{method: "GET", group: groupCore, resource: claims, selector: selector}, &list); err != nil {
		return nil, fmt.Errorf("list volume claims: %w", err)
	}
	out := make([]Claim, 0, len(list.Items))
	for _, p := range list.Items {
		out = append(out, p.value())
	}
	return out, nil
}

// GrowClaim asks for a larger volume. uid guards against another claim of the same name. Kubernetes refuses what the StorageClass does
// not allow, and every request to shrink.
func (c *Client) GrowClaim(ctx context.Context, name, uid, size string) error {
	body := map[string]any{
		"metadata": map[string]string{"uid": uid},
		"spec":     map[string]any{"resources": map[string]any{"requests": map[string]string{"storage": size}}},
	}
	if err := c.do(ctx, request{method: "PATCH", group: groupCore, resource: claims, name: name, body: body, patch: true}, nil); err != nil {
		return fmt.Errorf("grow volume claim %s to %s: %w", name, size, err)
	}
	return nil
}

// Marks are labels and annotations to set. A nil value removes the key.
type Marks struct {
	Labels      map[string]*string `json:"labels,omitempty"`
	Annotations map[string]*string `json:"annotations,omitempty"`
}

// MarkPod changes labels and annotations of a pod. uid guards against marking another pod of the same name; empty means any.
func (c *Client) MarkPod(ctx context.Context, name, uid string, m Marks) error {
	return c.mark(ctx, pods, name, uid, m)
}

// MarkClaim changes labels and annotations of a PersistentVolumeClaim.
func (c *Client) MarkClaim(ctx context.Context, name, uid string, m Marks) error {
	return c.mark(ctx, claims, name, uid, m)
}

func (c *Client) mark(ctx context.Context, resource, name, uid string, m Marks) error {
	type guarded struct {
		UID string `json:"uid,omitempty"`
		Marks
	}
	body := map[string]guarded{"metadata": {UID: uid, Marks: m}}
	if err := c.do(ctx, request{method: "PATCH", group: groupCore, resource: resource, name: name, body: body, patch: true}, nil); err != nil {
		return fmt.Errorf("mark %s %s: %w", resource, name, err)
	}
	return nil
}

// Event is something people should see at a pod (kubectl describe).
type Event struct {
	Pod, PodUID string
	Warning     bool
	Reason      string // CamelCase, constant
	Message     string
	At          time.Time
}

// CreateEvent publishes an event.
func (c *Client) CreateEvent(ctx context.Context, e Event) error {
	kind := "Normal"
	if e.Warning {
		kind = "Warning"
	}
	at := e.At.UTC().Format(time.RFC3339)
	o := map[string]any{
		"apiVersion": "v1", "kind": "Event",
		"metadata":       map[string]any{"generateName": e.Pod + ".", "namespace": c.namespace},
		"involvedObject": map[string]any{"apiVersion": "v1", "kind": "Pod", "namespace": c.namespace, "name": e.Pod, "uid": e.PodUID},
		"type":           kind, "reason": e.Reason, "message": e.Message, "source": map[string]any{"component": "pgspan-keeper"},
		"firstTimestamp": at, "lastTimestamp": at, "count": 1,
	}
	if err := c.do(ctx, request{method: "POST", group: groupCore, resource: "events", body: o}, nil); err != nil {
		return fmt.Errorf("create event %s: %w", e.Reason, err)
	}
	return nil
}
