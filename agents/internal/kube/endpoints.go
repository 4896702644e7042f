package kube

import (
	"context"
	"encoding/json"
	"fmt"
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
	var s struct {
		Metadata metadata
		Spec     struct {
			IPFamilies []Family
			Ports      []struct {
				Name       string
				Port       int
				TargetPort json.RawMessage // a number or a name
			}
		}
	}
	if err := c.do(ctx, request{method: "GET", group: groupCore, resource: "services", name: name}, &s); err != nil {
		return Service{}, fmt.Errorf("read service %s: %w", name, err)
	}
	out := Service{Object: s.Metadata.object(), Families: s.Spec.IPFamilies}
	for _, p := range s.Spec.Ports {
		port := ServicePort{Name: p.Name}
		if json.Unmarshal(p.TargetPort, &port.Target) != nil {
			port.Target = 0 // a name
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

	raw raw
}

const (
	labelService   = "kubernetes.io/service-name"
	labelManagedBy = "endpointslice.kubernetes.io/managed-by"
	// managedBy tells Kubernetes' own controllers to leave our slices alone.
	managedBy = "keeper.pgspan.io"
)

// Slice reads an EndpointSlice.
func (c *Client) Slice(ctx context.Context, name string) (Slice, error) {
	s, err := c.slice(ctx, request{method: "GET", name: name})
	if err != nil {
		return Slice{}, fmt.Errorf("read endpoints %s: %w", name, err)
	}
	return s, nil
}

// CreateSlice makes an EndpointSlice that does not exist yet.
func (c *Client) CreateSlice(ctx context.Context, s Slice) (Slice, error) {
	made, err := c.slice(ctx, request{method: "POST", body: s.object()})
	if err != nil {
		return Slice{}, fmt.Errorf("create endpoints %s: %w", s.Name, err)
	}
	return made, nil
}

// UpdateSlice replaces an EndpointSlice that was read, if it is still at that version.
func (c *Client) UpdateSlice(ctx context.Context, s Slice) (Slice, error) {
	if s.Version == "" {
		return Slice{}, fmt.Errorf("replace endpoints %s: no version", s.Name)
	}
	made, err := c.slice(ctx, request{method: "PUT", name: s.Name, body: s.object()})
	if err != nil {
		return Slice{}, fmt.Errorf("replace endpoints %s: %w", s.Name, err)
	}
	return made, nil
}

func (c *Client) slice(ctx context.Context, r request) (Slice, error) {
	r.group, r.resource = groupSlice, "endpointslices"
	o := raw{}
	if err := c.do(ctx, r, &o); err != nil {
		return Slice{}, err
	}
	var known struct {
		Metadata struct {
			metadata
			OwnerReferences []struct{ Kind, Name, UID string }
		}
		AddressType Family
		Ports       []struct {
			Name string
			Port int
		}
		Endpoints []struct {
			Addresses []string
			NodeName  string
			TargetRef struct{ Name, UID string }
		}
	}
	if err := o.into(&known); err != nil {
		return Slice{}, fmt.Errorf("decode endpoints: %w", err)
	}
	s := Slice{Object: known.Metadata.object(), Family: known.AddressType, raw: o}
	for _, owner := range known.Metadata.OwnerReferences {
		if owner.Kind == "Service" {
			s.Service = Object{Name: owner.Name, UID: owner.UID}
		}
	}
	for _, p := range known.Ports {
		s.Ports = append(s.Ports, ServicePort{Name: p.Name, Target: p.Port})
	}
	if len(known.Endpoints) != 1 || len(known.Endpoints[0].Addresses) != 1 {
		return s, nil // not as we write it: no address, so the next comparison replaces it
	}
	e := known.Endpoints[0]
	s.Address, s.Node, s.Pod, s.PodUID = e.Addresses[0], e.NodeName, e.TargetRef.Name, e.TargetRef.UID
	return s, nil
}

func (s Slice) object() raw {
	o := s.raw.clone()
	o.set("discovery.k8s.io/v1", "EndpointSlice", s.Object)
	m := o.part("metadata")
	labels := map[string]string{}
	for k, v := range s.Labels {
		labels[k] = v
	}
	labels[labelService], labels[labelManagedBy] = s.Service.Name, managedBy
	m["labels"] = labels
	m["ownerReferences"] = []raw{{"apiVersion": "v1", "kind": "Service", "name": s.Service.Name, "uid": s.Service.UID}}
	o["addressType"] = s.Family
	ports := []raw{}
	for _, p := range s.Ports {
		ports = append(ports, raw{"name": p.Name, "port": p.Target, "protocol": "TCP"})
	}
	o["ports"] = ports
	o["endpoints"] = []raw{}
	if s.Address == "" {
		return o // the holder's word, too: nobody is to be written to for now
	}
	// ready is what keeper says, whatever probes think: only the holder's word counts (SAFETY rule 18).
	e := raw{
		"addresses":  []string{s.Address},
		"conditions": raw{"ready": true, "serving": true, "terminating": false},
		"targetRef":  raw{"kind": "Pod", "name": s.Pod, "uid": s.PodUID},
	}
	if s.Node != "" {
		e["nodeName"] = s.Node
	}
	o["endpoints"] = []raw{e}
	return o
}
