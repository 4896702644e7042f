// Package kube is the small part of the Kubernetes API that the agents use: client-go's REST client over a transport of our own. Its types
// are plain values, so that nothing else in the agents knows Kubernetes, and answers are decoded into just the fields we look at: the
// generated types of k8s.io/api cost four megabytes in every pod.
//
// No request is sent twice, every request has a deadline, and every read is a quorum read: no cache, no watch. A failure says nothing about the
// object unless IsNotFound, IsConflict or IsExists says so.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
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

// InCluster is the configuration of a pod: the address from the environment that kubelet sets, the rest from the directory where the
// token is projected.
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
	rest      *rest.RESTClient
}

// New makes a client with connections of its own: two clients never wait for each other.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.Host)
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	t, err := newTransport(cfg.CAFile, cfg.TokenFile, cfg.Timeout)
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	// client-go logs through klog, whose lines are no JSON. What it has to say reaches us as errors.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	// A redirect is not followed: the token stays at the API server.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	// No rate limiter: the loops pace themselves, and a limiter would delay renewals.
	client, err := rest.NewRESTClient(base, "", rest.ClientContentConfig{
		ContentType: runtime.ContentTypeJSON, Negotiator: runtime.NewClientNegotiator(statuses(), meta.SchemeGroupVersion),
	}, nil, &http.Client{Transport: t, CheckRedirect: stay})
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	return &Client{namespace: cfg.Namespace, timeout: cfg.Timeout, rest: client}, nil
}

// statuses is the smallest scheme: the API's refusals. Everything else is decoded by ourselves.
func statuses() runtime.NegotiatedSerializer {
	s := runtime.NewScheme()
	s.AddUnversionedTypes(schema.GroupVersion{Version: "v1"}, &meta.Status{})
	return serializer.NewCodecFactory(s).WithoutConversion()
}

// The groups used here.
const (
	groupCore  = "/api/v1"
	groupLease = "/apis/coordination.k8s.io/v1"
	groupSlice = "/apis/discovery.k8s.io/v1"
	groupApps  = "/apis/apps/v1"
)

// request is one request.
type request struct {
	method, group, resource string
	name                    string // empty: the collection
	selector                string
	body                    any
	patch                   bool
	dry                     bool // asks whether it could be done, and changes nothing
}

// do sends one request, once, and decodes the answer into out, which may be nil.
func (c *Client) do(ctx context.Context, r request, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req := c.rest.Verb(r.method).AbsPath(r.group, "namespaces", c.namespace, r.resource, r.name).MaxRetries(0).
		SetHeader("Accept", runtime.ContentTypeJSON).SetHeader("User-Agent", "pgspan-keeper").WarningHandler(rest.NoWarnings{})
	if r.dry {
		req.Param("dryRun", "All")
	}
	if r.selector != "" {
		req.Param("labelSelector", r.selector)
	}
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return err
		}
		req.Body(b).SetHeader("Content-Type", runtime.ContentTypeJSON)
	}
	if r.patch {
		req.SetHeader("Content-Type", string(types.MergePatchType))
	}
	res, code := req.Do(ctx), 0
	b, err := res.StatusCode(&code).Raw()
	switch {
	case code != 0 && (code < 200 || code > 299):
		return refusal(code, b)
	case err != nil:
		return err
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return nil
}

// Refusal is an answer of the API server, or of something before it, that is not a success.
type Refusal struct {
	Code    int
	Reason  string // the API's own word ("NotFound"); empty if it was not the API that answered
	Message string
	Details struct {
		Name string
		Kind string
	}
}

func (r *Refusal) Error() string {
	if r.Reason == "" {
		return fmt.Sprintf("answered with status %d by something that is not the API", r.Code)
	}
	return fmt.Sprintf("%s (%d %s)", r.Message, r.Code, r.Reason)
}

func refusal(code int, body []byte) error {
	r := struct {
		Kind string
		Refusal
	}{}
	if json.Unmarshal(body, &r) != nil || r.Kind != "Status" {
		return &Refusal{Code: code}
	}
	r.Code = code
	return &r.Refusal
}

// IsNotFound reports that the API server said: there is no such object. An unknown path, or a 404 of a proxy, is none of the API's words about
// an object and names none.
func IsNotFound(err error) bool {
	r := (*Refusal)(nil)
	return errors.As(err, &r) && r.Reason == "NotFound" && r.Details.Name != ""
}

// IsConflict reports that the object is not at the version that was to be replaced.
func IsConflict(err error) bool { return reason(err) == "Conflict" }

// IsExists reports that an object of this name exists already.
func IsExists(err error) bool { return reason(err) == "AlreadyExists" }

func reason(err error) string {
	r := (*Refusal)(nil)
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}
