package loadbalancer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/pgspan/pgspan/test/lab/node"
	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/pgspan/pgspan/test/lab/wan"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	// Class is the loadBalancerClass the lab serves, beside Services that name none.
	Class = "lab.pgspan.io/balancer"
	// AddressAnnotation asks for one address of the site's.
	AddressAnnotation = "lab.pgspan.io/address"

	every = time.Second
)

// Controller looks after the load balancers of one site.
type Controller struct {
	site   topology.Site
	client kubernetes.Interface
	log    *slog.Logger
	health *health
	said   map[string]string
}

// New makes a controller.
func New(site topology.Site, client kubernetes.Interface, log *slog.Logger) *Controller {
	return &Controller{site: site, client: client, log: log, health: newHealth(), said: map[string]string{}}
}

// Run works until the context ends. It goes on with what it last knew while the API server does not answer, as a
// load balancer outside the cluster does.
func (c *Controller) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(c.client, 0)
	informer := factory.Core().V1().Services()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { notify() }, UpdateFunc: func(_, _ any) { notify() }, DeleteFunc: func(any) { notify() },
	}); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return ctx.Err()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := c.turn(ctx, informer.Lister()); err != nil && ctx.Err() == nil {
			c.log.Warn("load balancer turn cut short", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-tick.C:
		}
	}
}

// turn looks at everything once and puts every address where it belongs.
func (c *Controller) turn(ctx context.Context, lister listers.ServiceLister) error {
	all, err := lister.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	objects := map[string]*corev1.Service{}
	var services []service
	byPort := map[int][]string{}
	for _, o := range all {
		if !ours(o) {
			continue
		}
		key := o.Namespace + "/" + o.Name
		objects[key] = o
		port := healthPort(o)
		if _, asked := byPort[port]; !asked {
			byPort[port] = c.health.serving(ctx, c.site.NodeHosts(), port)
		}
		services = append(services, service{key: key, address: current(o), wanted: wanted(o), serving: byPort[port]})
	}
	holders, err := c.holders(ctx)
	if err != nil {
		return err
	}
	placed, problems := plan(c.site, services, holders)
	for key, problem := range problems {
		if c.said[key] != problem {
			c.said[key] = problem
			c.log.Warn("service gets no address", "service", key, "reason", problem)
		}
	}
	if err := c.moveAll(ctx, placed, holders); err != nil {
		return err
	}
	for _, p := range placed {
		if o := objects[p.key]; current(o) != p.address {
			if err := c.publish(ctx, o, p.address); err != nil {
				return err
			}
		}
	}
	return nil
}

// holders are the addresses that nodes have now.
func (c *Controller) holders(ctx context.Context) (map[netip.Addr]string, error) {
	found := map[netip.Addr]string{}
	for _, n := range c.site.NodeHosts() {
		addresses, err := wan.Addresses(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			found[a] = n.Name
		}
	}
	return found, nil
}

// moveAll takes addresses from nodes that should not have them, and then gives them to those that should: two nodes
// never have the same one.
func (c *Controller) moveAll(ctx context.Context, placed []placement, holders map[netip.Addr]string) error {
	belongs := map[netip.Addr]placement{}
	for _, p := range placed {
		belongs[p.address] = p
	}
	for address, holder := range holders {
		p, known := belongs[address]
		if known && (p.node == holder || p.node == "") {
			continue
		}
		if err := wan.RemoveAddress(ctx, holder, address); err != nil {
			return err
		}
	}
	for _, p := range placed {
		if p.node == "" || holders[p.address] == p.node {
			continue
		}
		if err := wan.AddAddress(ctx, p.node, p.address); err != nil {
			return err
		}
		if err := wan.Forget(ctx, c.site, p.address); err != nil {
			return err
		}
		c.log.Info("load balancer address moved", "service", p.key, "address", p.address.String(),
			"from", holders[p.address], "to", p.node)
	}
	return nil
}

func (c *Controller) publish(ctx context.Context, o *corev1.Service, address netip.Addr) error {
	mode := corev1.LoadBalancerIPModeVIP
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": corev1.LoadBalancerStatus{
		Ingress: []corev1.LoadBalancerIngress{{IP: address.String(), IPMode: &mode}}}}})
	if err != nil {
		return fmt.Errorf("encode service status: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := c.client.CoreV1().Services(o.Namespace).Patch(ctx, o.Name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("publish address of %s/%s: %w", o.Namespace, o.Name, err)
	}
	return nil
}

// ours says whether the Service asks for this load balancer.
func ours(o *corev1.Service) bool {
	return o.Spec.Type == corev1.ServiceTypeLoadBalancer && o.DeletionTimestamp == nil &&
		(o.Spec.LoadBalancerClass == nil || *o.Spec.LoadBalancerClass == Class)
}

// healthPort is where a node says whether it can serve the Service: where only nodes with a pod of the Service take
// part, it has a port of its own.
func healthPort(o *corev1.Service) int {
	if o.Spec.HealthCheckNodePort != 0 {
		return int(o.Spec.HealthCheckNodePort)
	}
	return node.ProxyHealthPort
}

func current(o *corev1.Service) netip.Addr {
	for _, i := range o.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(i.IP); err == nil {
			return a
		}
	}
	return netip.Addr{}
}

func wanted(o *corev1.Service) netip.Addr {
	text := o.Spec.LoadBalancerIP
	if text == "" {
		text = o.Annotations[AddressAnnotation]
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return netip.Addr{}
	}
	return a
}
