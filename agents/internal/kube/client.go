// Package kube is the small part of the Kubernetes API that the agents use: client-go's authentication over a transport of our own. Its types
// are plain values, so that nothing else in the agents knows Kubernetes, and answers are decoded into just the fields we look at: the
// generated types of k8s.io/api cost four megabytes in every pod, client-go's REST client, which brings every serializer there is, two.
//
// No request is sent twice, every request has a deadline, and every read is a quorum read: no cache, no watch. A failure says nothing about the
// object unless IsNotFound, IsConflict or IsExists says so.
package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

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
	base      *url.URL
	http      *http.Client
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
	return &Client{
		namespace: cfg.Namespace, timeout: cfg.Timeout, base: base, http: &http.Client{Transport: t, CheckRedirect: stay},
	}, nil
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

// Media types: of what is sent and asked for, and of a patch (RFC 7386).
const (
	typeJSON  = "application/json"
	typePatch = "application/merge-patch+json"
)

// do sends one request, once, and decodes the answer into out, which may be nil.
func (c *Client) do(ctx context.Context, r request, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(ctx, r)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return refusal(res.StatusCode, b)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, r request) (*http.Request, error) {
	body := []byte(nil)
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = b
	}
	query := url.Values{}
	if r.dry {
		query.Set("dryRun", "All")
	}
	if r.selector != "" {
		query.Set("labelSelector", r.selector)
	}
	u := c.base.JoinPath(r.group, "namespaces", c.namespace, r.resource, r.name)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", typeJSON)
	req.Header.Set("User-Agent", "pgspan-keeper")
	switch {
	case r.patch:
		req.Header.Set("Content-Type", typePatch)
	case body != nil:
		req.Header.Set("Content-Type", typeJSON)
	}
	return req, nil
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
