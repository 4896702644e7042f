package lifecycle

import (
	"context"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/test/lab/controlplane"
	"github.com/pgspan/pgspan/test/lab/topology"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// RestConfig is how to reach a site as its administrator.
func RestConfig(s topology.Site) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", controlplane.FilesOf(s).Admin())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig of site %s: %w", s.Name, err)
	}
	// The lab's own steps should not wait for their turn.
	config.QPS, config.Burst = 100, 200
	return config, nil
}

// Client is a site's API client.
func Client(s topology.Site) (kubernetes.Interface, error) {
	config, err := RestConfig(s)
	if err != nil {
		return nil, err
	}
	config.Timeout = 30 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to site %s: %w", s.Name, err)
	}
	return client, nil
}

// awaitAPI waits until the API server says that it is ready.
func awaitAPI(ctx context.Context, s topology.Site, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return until(ctx, "API server of site "+s.Name, func(ctx context.Context) (string, error) {
		return "", client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

const (
	// startPatience is for machines much slower than the two cores the lab is made for.
	startPatience = 4 * time.Minute
	pollEvery     = 250 * time.Millisecond
)

// until asks again and again whether something is so. Ask returns what is still missing, or an error when it could
// not find out; the last of them explains why the wait ended in vain.
func until(ctx context.Context, what string, ask func(context.Context) (missing string, err error)) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		missing, err := ask(attempt)
		cancel()
		if err == nil && missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("wait for %s: %w", what, err)
			}
			return fmt.Errorf("wait for %s: %s", what, missing)
		case <-time.After(pollEvery):
		}
	}
}
