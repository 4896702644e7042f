// Package kube is the small part of the Kubernetes API that the agents use, with a scheme and a transport of its own. Its types are
// plain values, so that nothing else in the agents knows Kubernetes' packages.
//
// No request is retried behind the caller's back, every request has a deadline, and every read is a quorum read: no cache, no
// watch. A failure says nothing about the object unless IsNotFound, IsConflict or IsExists says so.
package kube

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Config says which API server, as whom, and how patiently.
type Config struct {
	Host      string // https://address:port
	CAFile    string
	TokenFile string
	Namespace string
	// Timeout bounds each request as a whole, the dial included.
	Timeout time.Duration
}

// InCluster is the configuration of a pod: the address from the environment that kubelet sets, the rest from the directory where the token is projected.
func InCluster(dir, namespace string, timeout time.Duration) (Config, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return Config{}, fmt.Errorf("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this program runs in a pod")
	}
	return Config{
		Host:      "https://" + net.JoinHostPort(host, port),
		CAFile:    filepath.Join(dir, "ca.crt"),
		TokenFile: filepath.Join(dir, "token"),
		Namespace: namespace,
		Timeout:   timeout,
	}, nil
}

// Client makes requests in one namespace.
type Client struct {
	namespace string
	timeout   time.Duration
	core      *rest.RESTClient
	leases    *rest.RESTClient
	slices    *rest.RESTClient
}

// New makes a client with connections of its own: two clients never wait for each other.
func New(cfg Config) (*Client, error) {
	t, err := newTransport(cfg.CAFile, cfg.TokenFile, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	// client-go logs through klog, whose lines are no JSON. What it has to say reaches us as errors.
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	c := &Client{namespace: cfg.Namespace, timeout: cfg.Timeout}
	codecs := serializer.NewCodecFactory(scheme())
	for _, part := range []struct {
		into **rest.RESTClient
		gv   schema.GroupVersion
		path string
	}{
		{&c.core, core.SchemeGroupVersion, "/api"},
		{&c.leases, coordination.SchemeGroupVersion, "/apis"},
		{&c.slices, discovery.SchemeGroupVersion, "/apis"},
	} {
		*part.into, err = rest.RESTClientForConfigAndClient(&rest.Config{
			Host:    cfg.Host,
			APIPath: part.path,
			QPS:     -1, // the loops pace themselves; a limiter would delay renewals
			ContentConfig: rest.ContentConfig{
				GroupVersion:         &part.gv,
				NegotiatedSerializer: codecs.WithoutConversion(),
				ContentType:          runtime.ContentTypeJSON,
			},
			UserAgent:      "pgspan-keeper",
			WarningHandler: rest.NoWarnings{},
		}, &http.Client{Transport: t, CheckRedirect: refuseRedirect})
		if err != nil {
			return nil, fmt.Errorf("make API client: %w", err)
		}
	}
	return c, nil
}

// refuseRedirect keeps the token at the API server.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// scheme knows the handful of types used here: the full one costs twice the memory.
func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	s.AddKnownTypes(core.SchemeGroupVersion, &core.Pod{}, &core.PodList{}, &core.PersistentVolumeClaim{},
		&core.PersistentVolumeClaimList{}, &core.Service{}, &core.Event{}, &core.Secret{})
	s.AddKnownTypes(coordination.SchemeGroupVersion, &coordination.Lease{})
	s.AddKnownTypes(discovery.SchemeGroupVersion, &discovery.EndpointSlice{})
	for _, gv := range []schema.GroupVersion{core.SchemeGroupVersion, coordination.SchemeGroupVersion, discovery.SchemeGroupVersion} {
		meta.AddToGroupVersion(s, gv)
	}
	s.AddUnversionedTypes(schema.GroupVersion{Version: "v1"}, &meta.Status{})
	return s
}

// do sends one request, once.
func (c *Client) do(ctx context.Context, r *rest.Request, into runtime.Object) error {
	ctx, cancel := bounded(ctx, c.timeout)
	defer cancel()
	res := r.MaxRetries(0).Do(ctx)
	if into == nil {
		return res.Error()
	}
	return res.Into(into)
}

// IsNotFound reports that the API server itself said: there is no such object. A 404 of something between us and it (a proxy, a wrong
// address) is not that: nothing may be created on such a word.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) && spoken(err) }

// IsConflict reports that the object is not at the version that was to be replaced.
func IsConflict(err error) bool { return apierrors.IsConflict(err) && spoken(err) }

// IsExists reports that an object of this name exists already.
func IsExists(err error) bool { return apierrors.IsAlreadyExists(err) && spoken(err) }

// spoken reports that the error is a Status object of the API server. For an answer without one, client-go makes it up from the HTTP code.
func spoken(err error) bool {
	return !apierrors.HasStatusCause(err, meta.CauseTypeUnexpectedServerResponse)
}
