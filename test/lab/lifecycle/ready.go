package lifecycle

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/topology"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ready waits until every site does what pods will rely on, and shows it by a pod that uses all of it.
func ready(ctx context.Context, lab topology.Lab, progress build.Progress) error {
	if err := writeKubeconfig(lab); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range lab.Sites {
		group.Go(func() error {
			client, err := Client(s)
			if err != nil {
				return err
			}
			if err := until(ctx, "nodes of site "+s.Name, func(ctx context.Context) (string, error) {
				return nodesNotReady(ctx, client, s)
			}); err != nil {
				return err
			}
			progress("site %s: %d nodes ready", s.Name, s.Nodes)
			if err := proveSite(ctx, client, s); err != nil {
				return fmt.Errorf("site %s is not usable: %w", s.Name, err)
			}
			progress("site %s: a pod resolves names, its volume has its size, its load balancer answers", s.Name)
			return nil
		})
	}
	return group.Wait()
}

// nodesNotReady names the nodes that are missing or not ready.
func nodesNotReady(ctx context.Context, client kubernetes.Interface, s topology.Site) (string, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	good := map[string]bool{}
	for _, n := range list.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				good[n.Name] = true
			}
		}
	}
	var missing []string
	for _, h := range s.NodeHosts() {
		if !good[h.Name] {
			missing = append(missing, h.Name)
		}
	}
	if len(missing) > 0 {
		return "not ready: " + strings.Join(missing, ", "), nil
	}
	return "", nil
}

// proveSite runs the probe pod, with a volume and behind a load balancer, and asks it what it sees.
func proveSite(ctx context.Context, client kubernetes.Interface, s topology.Site) error {
	p := Probe{Site: s, Namespace: "lab-check", Class: "lab-local", Size: proofSize}
	defer func() {
		// Its end is not waited for; the next proof does, should it come so soon.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = p.Remove(clean, client)
	}()
	if err := p.Create(ctx, client); err != nil {
		return err
	}
	base, err := p.URL(ctx, client)
	if err != nil {
		return err
	}
	if err := until(ctx, "answer of the load balancer "+base, func(ctx context.Context) (string, error) {
		_, err := Ask(ctx, base+"/")
		return "", err
	}); err != nil {
		return err
	}
	name := "kubernetes.default.svc." + topology.ClusterDomain
	address, err := Ask(ctx, base+"/resolve?name="+url.QueryEscape(name))
	if err != nil {
		return fmt.Errorf("resolve %s in a pod: %w", name, err)
	}
	if address != topology.KubernetesService {
		return fmt.Errorf("%s resolves to %q in a pod, not to %s", name, address, topology.KubernetesService)
	}
	text, err := Ask(ctx, base+"/df?path=/data")
	if err != nil {
		return fmt.Errorf("ask for the volume's size in a pod: %w", err)
	}
	size, _, _ := strings.Cut(text, " ")
	got, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return fmt.Errorf("volume's size in a pod: %w", err)
	}
	if want := p.Size.Value(); got < want || got > want+want/4 {
		return fmt.Errorf("df in a pod shows a volume of %d bytes, the claim asks for %d", got, want)
	}
	return nil
}

// Ask asks a probe pod one question.
func Ask(ctx context.Context, url string) (string, error) { return talk(ctx, http.MethodGet, url) }

// Tell lets a probe pod do something.
func Tell(ctx context.Context, url string) (string, error) { return talk(ctx, http.MethodPost, url) }

func talk(ctx context.Context, method, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("probe says %s: %s", response.Status, text)
	}
	return text, nil
}
