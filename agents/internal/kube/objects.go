package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Object is what every object has.
type Object struct {
	Name        string
	UID         string
	Version     string // resourceVersion: opaque, only compared for equality
	Labels      map[string]string
	Annotations map[string]string
}

func objectFrom(o meta.Object) Object {
	return Object{
		Name: o.GetName(), UID: string(o.GetUID()), Version: o.GetResourceVersion(),
		Labels: o.GetLabels(), Annotations: o.GetAnnotations(),
	}
}

// Pod is a pod as far as we look at it.
type Pod struct {
	Object
	IPs      []string
	Node     string
	Deleting bool // has a deletion timestamp
	Ready    bool
}

// Claim is a PersistentVolumeClaim. Its UID is the member's id.
type Claim struct{ Object }

// Pod reads one pod.
func (c *Client) Pod(ctx context.Context, name string) (Pod, error) {
	var p core.Pod
	if err := c.do(ctx, c.get("pods", name), &p); err != nil {
		return Pod{}, fmt.Errorf("read pod %s: %w", name, err)
	}
	return podFrom(&p), nil
}

// Pods lists pods by label selector.
func (c *Client) Pods(ctx context.Context, selector string) ([]Pod, error) {
	var list core.PodList
	if err := c.do(ctx, c.core.Get().Namespace(c.namespace).Resource("pods").Param("labelSelector", selector), &list); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	pods := make([]Pod, 0, len(list.Items))
	for i := range list.Items {
		pods = append(pods, podFrom(&list.Items[i]))
	}
	return pods, nil
}

func podFrom(p *core.Pod) Pod {
	out := Pod{Object: objectFrom(p), Node: p.Spec.NodeName, Deleting: p.DeletionTimestamp != nil}
	for _, ip := range p.Status.PodIPs {
		out.IPs = append(out.IPs, ip.IP)
	}
	for _, cond := range p.Status.Conditions {
		if cond.Type == core.PodReady {
			out.Ready = cond.Status == core.ConditionTrue
		}
	}
	return out
}

// Claim reads one PersistentVolumeClaim.
func (c *Client) Claim(ctx context.Context, name string) (Claim, error) {
	var p core.PersistentVolumeClaim
	if err := c.do(ctx, c.get("persistentvolumeclaims", name), &p); err != nil {
		return Claim{}, fmt.Errorf("read volume claim %s: %w", name, err)
	}
	return Claim{objectFrom(&p)}, nil
}

// Claims lists PersistentVolumeClaims by label selector.
func (c *Client) Claims(ctx context.Context, selector string) ([]Claim, error) {
	var list core.PersistentVolumeClaimList
	r := c.core.Get().Namespace(c.namespace).Resource("persistentvolumeclaims").Param("labelSelector", selector)
	if err := c.do(ctx, r, &list); err != nil {
		return nil, fmt.Errorf("list volume claims: %w", err)
	}
	claims := make([]Claim, 0, len(list.Items))
	for i := range list.Items {
		claims = append(claims, Claim{objectFrom(&list.Items[i])})
	}
	return claims, nil
}

// Marks are labels and annotations to set. A nil value removes the key.
type Marks struct {
	Labels      map[string]*string `json:"labels,omitempty"`
	Annotations map[string]*string `json:"annotations,omitempty"`
}

// MarkPod changes labels and annotations of a pod. uid guards against marking another pod of the same name; empty means any.
func (c *Client) MarkPod(ctx context.Context, name, uid string, m Marks) error {
	return c.mark(ctx, "pods", name, uid, m)
}

// MarkClaim changes labels and annotations of a PersistentVolumeClaim.
func (c *Client) MarkClaim(ctx context.Context, name, uid string, m Marks) error {
	return c.mark(ctx, "persistentvolumeclaims", name, uid, m)
}

func (c *Client) mark(ctx context.Context, resource, name, uid string, m Marks) error {
	type metadata struct {
		UID string `json:"uid,omitempty"`
		Marks
	}
	body, err := json.Marshal(map[string]metadata{"metadata": {UID: uid, Marks: m}})
	if err != nil {
		return fmt.Errorf("mark %s %s: %w", resource, name, err)
	}
	r := c.core.Patch(types.MergePatchType).Namespace(c.namespace).Resource(resource).Name(name).Body(body)
	if err := c.do(ctx, r, nil); err != nil {
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
	kind := core.EventTypeNormal
	if e.Warning {
		kind = core.EventTypeWarning
	}
	at := meta.NewTime(e.At)
	o := &core.Event{
		ObjectMeta:     meta.ObjectMeta{GenerateName: e.Pod + ".", Namespace: c.namespace},
		InvolvedObject: core.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: c.namespace, Name: e.Pod, UID: types.UID(e.PodUID)},
		Type:           kind,
		Reason:         e.Reason,
		Message:        e.Message,
		Source:         core.EventSource{Component: "pgspan-keeper"},
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
	}
	if err := c.do(ctx, c.core.Post().Namespace(c.namespace).Resource("events").Body(o), nil); err != nil {
		return fmt.Errorf("create event %s: %w", e.Reason, err)
	}
	return nil
}

func (c *Client) get(resource, name string) *rest.Request {
	return c.core.Get().Namespace(c.namespace).Resource(resource).Name(name)
}
