package publish

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pgspan/pgspan/agents/internal/kube"
)

// API is the part of Kubernetes that publishing needs.
type API interface {
	Service(ctx context.Context, name string) (kube.Service, error)
	Slice(ctx context.Context, name string) (kube.Slice, error)
	CreateSlice(ctx context.Context, s kube.Slice) (kube.Slice, error)
	UpdateSlice(ctx context.Context, s kube.Slice) (kube.Slice, error)
}

// Publisher leads the Service for writing to the holder of the record. It is used by one goroutine.
type Publisher struct {
	api     API
	service string
	labels  map[string]string
	log     *slog.Logger
}

// New makes a publisher for a Service; labels are put on what it makes.
func New(api API, service string, labels map[string]string, log *slog.Logger) *Publisher {
	return &Publisher{api: api, service: service, labels: labels, log: log}
}

// Lead makes the Service lead to w. It looks, compares, and writes by compare-and-set; an error means that it is not known to be so, and that
// the caller tries again. stillGranted is asked right before each write: a keeper that was frozen in between must not write.
func (p *Publisher) Lead(ctx context.Context, w Writer, stillGranted func() bool) error {
	service, err := p.api.Service(ctx, p.service)
	if err != nil {
		return err
	}
	wanted := Slices(service, w, p.labels)
	if len(wanted) == 0 {
		return fmt.Errorf("lead service %s here: the pod has no address of the families %v", p.service, service.Families)
	}
	for _, want := range wanted {
		if err := p.lead(ctx, want, stillGranted); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) lead(ctx context.Context, want kube.Slice, stillGranted func() bool) error {
	is, err := p.api.Slice(ctx, want.Name)
	if err != nil && !kube.IsNotFound(err) {
		return err
	}
	missing := err != nil
	change, reason := Replace, "nothing was published"
	if !missing {
		change, reason = Compare(is, want)
	}
	switch {
	case change == Leave:
		return nil
	case change == Refuse:
		return fmt.Errorf("lead service %s here: %s", p.service, reason)
	case !stillGranted():
		return fmt.Errorf("lead service %s here: the right to write has ended", p.service)
	}
	if missing {
		_, err = p.api.CreateSlice(ctx, want)
	} else {
		next := is // keeps what others put on it
		next.Family, next.Service, next.Ports = want.Family, want.Service, want.Ports
		next.Address, next.Node, next.Pod, next.PodUID = want.Address, want.Node, want.Pod, want.PodUID
		next.Annotations = merged(is.Annotations, want.Annotations)
		next.Labels = merged(is.Labels, want.Labels)
		_, err = p.api.UpdateSlice(ctx, next)
	}
	if err != nil {
		return err
	}
	p.log.Info("service for writing leads here", "service", p.service, "address", want.Address, "epoch", want.Annotations[AnnotationEpoch], "reason", reason)
	return nil
}

func merged(a, b map[string]string) map[string]string {
	out := make(map[string]string, len(a)+len(b))
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		out[k] = v
	}
	return out
}
