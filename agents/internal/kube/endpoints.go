package kube

import (
	"context"
	"fmt"
	"maps"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Family of addresses.
type Family string

const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// Service is a Service as far as we look at it.
type Service struct {
	Object
	Ports    []ServicePort
	Families []Family
}

// ServicePort is one port of a Service. Target is 0 when the Service names the port instead of numbering it.
type ServicePort struct {
	Name   string
	Target int
}

// Service reads one Service.
func (c *Client) Service(ctx context.Context, name string) (Service, error) {
	var s core.Service
	if err := c.do(ctx, c.get("services", name), &s); err != nil {
		return Service{}, fmt.Errorf("read service %s: %w", name, err)
	}
	out := Service{Object: objectFrom(&s)}
	for _, f := range s.Spec.IPFamilies {
		out.Families = append(out.Families, Family(f))
	}
	for _, p := range s.Spec.Ports {
		port := ServicePort{Name: p.Name, Target: int(p.Port)}
		switch {
		case p.TargetPort.Type == intstr.String && p.TargetPort.StrVal != "":
			port.Target = 0
		case p.TargetPort.IntVal != 0:
			port.Target = int(p.TargetPort.IntVal)
		}
		out.Ports = append(out.Ports, port)
	}
	return out, nil
}

// Slice is an EndpointSlice with one endpoint: whoever the Service leads to.
type Slice struct {
	Object
	Family  Family
	Service Object // the owner, so that the slice goes when the Service goes
	Ports   []ServicePort
	Address string
	Node    string
	Pod     string
	PodUID  string

	raw *discovery.EndpointSlice
}

// managedBy tells Kubernetes' own controllers to leave our slices alone.
const managedBy = "keeper.pgspan.io"

// Slice reads an EndpointSlice.
func (c *Client) Slice(ctx context.Context, name string) (Slice, error) {
	var s discovery.EndpointSlice
	if err := c.do(ctx, c.slices.Get().Namespace(c.namespace).Resource("endpointslices").Name(name), &s); err != nil {
		return Slice{}, fmt.Errorf("read endpoints %s: %w", name, err)
	}
	return sliceFrom(&s), nil
}

// CreateSlice makes an EndpointSlice that does not exist yet.
func (c *Client) CreateSlice(ctx context.Context, s Slice) (Slice, error) {
	var made discovery.EndpointSlice
	if err := c.do(ctx, c.slices.Post().Namespace(c.namespace).Resource("endpointslices").Body(s.object()), &made); err != nil {
		return Slice{}, fmt.Errorf("create endpoints %s: %w", s.Name, err)
	}
	return sliceFrom(&made), nil
}

// UpdateSlice replaces an EndpointSlice that was read, if it is still at that version.
func (c *Client) UpdateSlice(ctx context.Context, s Slice) (Slice, error) {
	if s.Version == "" {
		return Slice{}, fmt.Errorf("replace endpoints %s: no version", s.Name)
	}
	var made discovery.EndpointSlice
	r := c.slices.Put().Namespace(c.namespace).Resource("endpointslices").Name(s.Name).Body(s.object())
	if err := c.do(ctx, r, &made); err != nil {
		return Slice{}, fmt.Errorf("replace endpoints %s: %w", s.Name, err)
	}
	return sliceFrom(&made), nil
}

func sliceFrom(raw *discovery.EndpointSlice) Slice {
	s := Slice{Object: objectFrom(raw), Family: Family(raw.AddressType), raw: raw}
	for _, o := range raw.OwnerReferences {
		if o.Kind == "Service" {
			s.Service = Object{Name: o.Name, UID: string(o.UID)}
		}
	}
	for _, p := range raw.Ports {
		var port ServicePort
		if p.Name != nil {
			port.Name = *p.Name
		}
		if p.Port != nil {
			port.Target = int(*p.Port)
		}
		s.Ports = append(s.Ports, port)
	}
	if len(raw.Endpoints) != 1 || len(raw.Endpoints[0].Addresses) != 1 {
		return s // not as we write it: no address, so the next comparison replaces it
	}
	e := raw.Endpoints[0]
	s.Address = e.Addresses[0]
	if e.NodeName != nil {
		s.Node = *e.NodeName
	}
	if e.TargetRef != nil {
		s.Pod, s.PodUID = e.TargetRef.Name, string(e.TargetRef.UID)
	}
	return s
}

func (s Slice) object() *discovery.EndpointSlice {
	o := &discovery.EndpointSlice{}
	if s.raw != nil {
		o = s.raw.DeepCopy()
	}
	o.Name, o.ResourceVersion = s.Name, s.Version
	o.Annotations = maps.Clone(s.Annotations)
	o.Labels = maps.Clone(s.Labels)
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	o.Labels[discovery.LabelServiceName] = s.Service.Name
	o.Labels[discovery.LabelManagedBy] = managedBy
	o.OwnerReferences = []meta.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: s.Service.Name, UID: types.UID(s.Service.UID)}}
	o.AddressType = discovery.AddressType(s.Family)
	o.Ports = nil
	for _, p := range s.Ports {
		name, number, protocol := p.Name, int32(p.Target), core.ProtocolTCP
		o.Ports = append(o.Ports, discovery.EndpointPort{Name: &name, Port: &number, Protocol: &protocol})
	}
	// ready is what keeper says, whatever probes think: only the holder's word counts (SAFETY rule 18).
	yes, no := true, false
	e := discovery.Endpoint{
		Addresses:  []string{s.Address},
		Conditions: discovery.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
		TargetRef:  &core.ObjectReference{Kind: "Pod", Name: s.Pod, UID: types.UID(s.PodUID)},
	}
	if s.Node != "" {
		node := s.Node
		e.NodeName = &node
	}
	o.Endpoints = []discovery.Endpoint{e}
	return o
}
