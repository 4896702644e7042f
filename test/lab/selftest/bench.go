// Package selftest shows that a lab's faults are real: under each of them the right things break and all others go on,
// and after it is healed everything works again.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/provisioner"
	"github.com/pgspan/pgspan/test/lab/topology"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const probeName, probePort = "probe", "8080"

// roamingBytes is what the roaming probe writes to its volume, far more than a file system has of its own when it is new.
const roamingBytes = 128 << 20

// bench is the lab with a probe pod on each node that takes part.
type bench struct {
	state   lifecycle.State
	say     build.Progress
	clients map[string]kubernetes.Interface
	probes  map[string]probe
	// roaming begins on a2 with a volume that any node of the site can have.
	roaming lifecycle.Probe
	// a1, a2 are two nodes of one site and b1 one of another.
	a1, a2, b1 topology.Host
}

// probe is a running probe pod.
type probe struct {
	lifecycle.Probe
	// url is its load balancer's.
	url string
}

// address is the address of the probe's load balancer.
func (p probe) address() (netip.Addr, error) {
	u, err := url.Parse(p.url)
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(u.Hostname())
}

// newBench starts the probes.
func newBench(ctx context.Context, state lifecycle.State, say build.Progress) (*bench, error) {
	if len(state.Lab.Sites) < 2 || state.Lab.Sites[0].Nodes < 2 {
		return nil, fmt.Errorf("the self-test needs two sites and two nodes, not %s: lab up --sites a,b --nodes 2", state.Lab)
	}
	first, second := state.Lab.Sites[0].NodeHosts(), state.Lab.Sites[1].NodeHosts()
	b := &bench{state: state, say: say, clients: map[string]kubernetes.Interface{}, probes: map[string]probe{},
		a1: first[0], a2: first[1], b1: second[0]}
	for _, s := range state.Lab.Sites[:2] {
		client, err := lifecycle.Client(s)
		if err != nil {
			return nil, err
		}
		b.clients[s.Name] = client
	}
	b.roaming = lifecycle.Probe{Site: b.a2.Site, Namespace: "lab-selftest-roaming", Class: provisioner.NetworkClass,
		Size: resource.MustParse("512Mi"), Node: b.a2.Name}
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		client := b.clients[b.roaming.Site.Name]
		if err := b.roaming.Create(inner, client); err != nil {
			return err
		}
		u, err := b.roaming.URL(inner, client)
		if err != nil {
			return err
		}
		// The address is there a moment before the nodes lead it to the pod.
		return all(inner, []check{{what: "the roaming probe writes", patience: 10 * time.Second, ask: func(ctx context.Context) error {
			_, err := lifecycle.Tell(ctx, u+"/write?path=/data/written&bytes="+strconv.Itoa(roamingBytes))
			return err
		}}}, biteWithin, true)
	})
	started := make(chan probe, 3)
	for _, h := range []topology.Host{b.a1, b.a2, b.b1} {
		p := probe{Probe: lifecycle.Probe{Site: h.Site, Namespace: "lab-selftest-" + h.Name, Class: "lab-local",
			Size: resource.MustParse("512Mi"), Node: h.Name}}
		group.Go(func() (err error) {
			client := b.clients[h.Site.Name]
			if err := p.Create(inner, client); err != nil {
				return err
			}
			p.url, err = p.URL(inner, client)
			started <- p
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	close(started)
	for p := range started {
		b.probes[p.Node] = p
	}
	return b, nil
}

// close removes the probes.
func (b *bench) close(ctx context.Context) error {
	var all []error
	for _, p := range b.probes {
		all = append(all, p.Delete(ctx, b.clients[p.Site.Name]))
	}
	all = append(all, b.outOfService(ctx, b.a2, false), b.roaming.Delete(ctx, b.clients[b.roaming.Site.Name]))
	return errors.Join(all...)
}

// fromMachine asks a node's probe through its load balancer.
func (b *bench) fromMachine(ctx context.Context, h topology.Host, question string) (string, error) {
	return lifecycle.Ask(ctx, b.probes[h.Name].url+question)
}

// inPod lets a node's probe get a URL. It reaches the probe by way of the API server, which works also where the
// machine is cut off from the pods.
func (b *bench) inPod(ctx context.Context, h topology.Host, target string) error {
	p := b.probes[h.Name]
	answer, err := b.clients[h.Site.Name].CoreV1().Pods(p.Namespace).ProxyGet("http", probeName, probePort, "/get",
		map[string]string{"url": target}).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("in the pod on %s: %w: %s", h.Name, err, strings.TrimSpace(string(answer)))
	}
	return nil
}

// pod is the probe's pod as the API server has it.
func (b *bench) pod(ctx context.Context, h topology.Host) (*corev1.Pod, error) {
	return b.clients[h.Site.Name].CoreV1().Pods(b.probes[h.Name].Namespace).Get(ctx, probeName, metav1.GetOptions{})
}

// write lets a node's probe write to its volume and returns how long that took.
func (b *bench) write(ctx context.Context, h topology.Host, bytes int, synced bool) (time.Duration, error) {
	query := url.Values{"path": {"/data/written"}, "bytes": {fmt.Sprint(bytes)}}
	if synced {
		query.Set("sync", "1")
	}
	answer, err := lifecycle.Tell(ctx, b.probes[h.Name].url+"/write?"+query.Encode())
	if err != nil {
		return 0, err
	}
	return time.ParseDuration(answer + "s")
}
