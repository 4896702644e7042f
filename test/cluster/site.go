// Package cluster is what the demo and the end-to-end tests ask of one Kubernetes cluster: connect, run a command in a pod, ask a
// server, wait for a fact.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
)

// Site is one Kubernetes cluster, as one context of a kubeconfig file names it.
type Site struct {
	Name       string
	Kubeconfig string
	Config     *rest.Config
	Client     kubernetes.Interface
}

// Connect reads the kubeconfig file and does not contact the cluster.
func Connect(kubeconfig, name string) (*Site, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: name},
	).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("connect to site %s: %w", name, err)
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to site %s: %w", name, err)
	}
	return &Site{name, kubeconfig, config, client}, nil
}

// Namespace makes sure that a namespace exists.
func (s *Site) Namespace(ctx context.Context, name string, labels map[string]string) error {
	_, err := s.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		return nil
	}
	_, err = s.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	return nil
}

// Exec runs a command in a container and returns what it printed. Its standard error is in the error.
func (s *Site) Exec(ctx context.Context, namespace, pod, container string, command ...string) (string, error) {
	req := s.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	exec, err := remotecommand.NewSPDYExecutor(s.Config, "POST", req.URL())
	if err != nil {
		return "", fmt.Errorf("exec in %s/%s: %w", pod, container, err)
	}
	var stdout, stderr bytes.Buffer
	if err := exec.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr}); err != nil {
		return stdout.String(), fmt.Errorf("exec in %s/%s: %w: %s", pod, container, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// programs is a PATH of the places where images keep PostgreSQL's programs.
const programs = "PATH=/usr/pgsql-17/bin:/usr/lib/postgresql/18/bin:/usr/lib/postgresql/17/bin:/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin"

// SQL asks the server of a pod, as the superuser over its private socket. Columns are separated by a bar.
func (s *Site) SQL(ctx context.Context, namespace, pod, query string) (string, error) {
	out, err := s.Exec(ctx, namespace, pod, "postgres", "env", programs, "psql", "-h", "/pgspan/socket", "-U", "postgres", "-d", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query)
	return strings.TrimSpace(out), err
}

// Secret returns a Secret's values.
func (s *Site) Secret(ctx context.Context, namespace, name string) (map[string]string, error) {
	secret, err := s.Client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get Secret %s: %w", name, err)
	}
	out := make(map[string]string, len(secret.Data))
	for k, v := range secret.Data {
		out[k] = string(v)
	}
	return out, nil
}

// Address waits for a LoadBalancer Service to have an address and returns it.
func (s *Site) Address(ctx context.Context, namespace, service string) (string, error) {
	var address string
	err := Wait(ctx, "Service "+service+" has an address", func(ctx context.Context) (bool, string, error) {
		svc, err := s.Client.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		for _, in := range svc.Status.LoadBalancer.Ingress {
			if address = in.IP; address == "" {
				address = in.Hostname
			}
		}
		return address != "", "none yet", nil
	})
	return address, err
}

// LeadsTo returns the pods that a Service sends new connections to, sorted.
func (s *Site) LeadsTo(ctx context.Context, namespace, service string) ([]string, error) {
	list, err := s.Client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return nil, fmt.Errorf("list endpoints of %s: %w", service, err)
	}
	var names []string
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			if e.TargetRef != nil && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				names = append(names, e.TargetRef.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Pods returns the pods that a label selector names.
func (s *Site) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := s.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list pods %s: %w", selector, err)
	}
	return list.Items, nil
}

// Wait asks until the condition holds or ctx ends; the error then says what was seen last. An error of the condition is "could not
// find out" and is asked again.
func Wait(ctx context.Context, what string, condition func(context.Context) (ok bool, seen string, err error)) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last := "nothing"
	for {
		ok, seen, err := condition(ctx)
		switch {
		case err == nil && ok:
			return nil
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			last = err.Error()
		case err == nil:
			last = seen
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w; last seen: %s", what, ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// Ready reports whether a pod's Ready condition is true.
func Ready(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
