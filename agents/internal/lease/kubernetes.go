package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Annotation carries the record on the Lease object.
const Annotation = "pgspan.io/record"

// Kubernetes keeps the record in a Lease object. It is used by one goroutine.
type Kubernetes struct {
	client *kube.Client
	name   string
	labels map[string]string
	// last is the object as last read or written, so that what others put on it (labels, owners) survives our writes.
	last kube.Lease
}

// NewKubernetes keeps the record in the Lease called name. labels are put on it when it is made.
func NewKubernetes(c *kube.Client, name string, labels map[string]string) *Kubernetes {
	return &Kubernetes{client: c, name: name, labels: labels}
}

// Get implements Store.
func (k *Kubernetes) Get(ctx context.Context) (record.Record, string, error) {
	l, err := k.client.Lease(ctx, k.name)
	if kube.IsNotFound(err) {
		k.last = kube.Lease{}
		return record.Record{}, "", ErrAbsent
	}
	if err != nil {
		return record.Record{}, "", err
	}
	k.last = l
	r, err := record.Parse(l.Annotations[Annotation])
	if err != nil {
		return record.Record{}, l.Version, fmt.Errorf("%w: lease %s: %w", ErrBroken, k.name, err)
	}
	// The object's own field is what kubectl shows. Should somebody have raised it by hand, the longer wait is the safe one.
	if l.Duration > time.Duration(r.Duration) {
		r.Duration = record.Duration(l.Duration)
	}
	return r, l.Version, nil
}

// Create implements Store.
func (k *Kubernetes) Create(ctx context.Context, r record.Record) (string, error) {
	l := kube.Lease{Object: kube.Object{Name: k.name, Labels: k.labels}}
	if err := fill(&l, r); err != nil {
		return "", err
	}
	made, err := k.client.CreateLease(ctx, l)
	return k.done(made, err)
}

// Replace implements Store.
func (k *Kubernetes) Replace(ctx context.Context, version string, r record.Record) (string, error) {
	if k.last.Version != version {
		return "", ErrConflict // somebody has read since: the version asked for is not the last one known
	}
	l := k.last
	if err := fill(&l, r); err != nil {
		return "", err
	}
	made, err := k.client.UpdateLease(ctx, l)
	return k.done(made, err)
}

func (k *Kubernetes) done(made kube.Lease, err error) (string, error) {
	switch {
	case kube.IsNotFound(err):
		return "", errors.Join(ErrAbsent, err)
	case kube.IsConflict(err), kube.IsExists(err):
		return "", errors.Join(ErrConflict, err)
	case err != nil:
		return "", err
	}
	k.last = made
	return made.Version, nil
}

func fill(l *kube.Lease, r record.Record) error {
	text, err := r.Text()
	if err != nil {
		return err
	}
	annotations := map[string]string{}
	for key, value := range l.Annotations {
		annotations[key] = value
	}
	annotations[Annotation] = text
	l.Annotations = annotations
	l.Holder = r.Holder.String()
	if r.Free() {
		l.Holder = "" // what kubectl shows; the record names who released
	}
	l.Duration = time.Duration(r.Duration)
	l.Renewed = time.Now()
	return nil
}
