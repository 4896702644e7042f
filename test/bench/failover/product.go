package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// members is how many each product has, one to a node.
const members = 3

// product is one of the two that are compared: three members and a Service that leads to the one that writes.
type product interface {
	install(ctx context.Context) error
	uninstall(ctx context.Context) error
	// configure brings it into an arm's settings and a mode, and returns when they are in force.
	configure(ctx context.Context, arm, mode string) error
	// handOver asks for a switchover to the best candidate.
	handOver(ctx context.Context, primary string) error
	// reign is a number that grows with every change of who leads.
	reign(ctx context.Context, primary string) (int, error)
	// client reaches the Service for writing by a node's port, or a server straight at its pod's address.
	client(ctx context.Context) (cluster.App, error)
	version(ctx context.Context, primary string) (string, error)
	common() *place
}

// place is where a product's members are and how they are asked.
type place struct {
	s                    *cluster.Site
	namespace, selector  string
	container            string   // the server's
	psql                 []string // psql as the superuser, up to the query
	data                 string   // the data directory
	service              string   // the one for writing
	root                 string   // of the repository
	kubeconfig, imageTag string
}

func (p *place) common() *place { return p }

// member is one pod of a product as it was found.
type member struct {
	name, node, address string
	ready               bool
	writes              bool // not in recovery, by the server's own word
}

// standing is what a product looks like; replicas are what the primary says of them.
type standing struct {
	members             []member
	streaming, caughtUp int
	answered            bool // by every member that is ready
}

// primary is the one member that writes; false when there is none, or more than one.
func (s standing) primary() (member, bool) {
	i := slices.IndexFunc(s.members, func(m member) bool { return m.writes })
	if i < 0 || slices.ContainsFunc(s.members[i+1:], func(m member) bool { return m.writes }) {
		return member{}, false
	}
	return s.members[i], true
}

// missing says what a product lacks to be whole; empty: nothing. A trial on a product that is not whole would measure something else.
func (s standing) missing() string {
	ready, nodes := 0, map[string]bool{}
	for _, m := range s.members {
		if m.ready {
			ready++
		}
		nodes[m.node] = true
	}
	_, one := s.primary()
	switch {
	case len(s.members) != members:
		return fmt.Sprintf("%d pods", len(s.members))
	case ready != members:
		return fmt.Sprintf("%d of %d pods ready", ready, members)
	case len(nodes) != members:
		return fmt.Sprintf("on %d nodes only", len(nodes))
	case !s.answered:
		return "a server does not answer"
	case !one:
		return "not one member that writes"
	case s.streaming != members-1:
		return fmt.Sprintf("%d replicas stream", s.streaming)
	case s.caughtUp != members-1:
		return fmt.Sprintf("%d of %d replicas have replayed all", s.caughtUp, s.streaming)
	}
	return ""
}

// look asks all members.
func (p *place) look(ctx context.Context) (standing, error) {
	pods, err := p.s.Pods(ctx, p.namespace, p.selector)
	if err != nil {
		return standing{}, err
	}
	st := standing{answered: true}
	for _, pod := range pods {
		m := member{name: pod.Name, node: pod.Spec.NodeName, address: pod.Status.PodIP, ready: pod.DeletionTimestamp == nil && cluster.Ready(pod)}
		if m.ready {
			got, err := p.sql(ctx, pod.Name, "select pg_is_in_recovery()")
			m.writes = err == nil && got == "f"
			st.answered = st.answered && err == nil
		}
		st.members = append(st.members, m)
	}
	if lead, ok := st.primary(); ok {
		got, err := p.sql(ctx, lead.name, `select count(*) || ' ' || count(*) filter (where replay_lsn >= pg_current_wal_flush_lsn())
			from pg_stat_replication where state = 'streaming'`)
		if err != nil {
			return st, err
		}
		if _, err := fmt.Sscan(got, &st.streaming, &st.caughtUp); err != nil {
			return st, fmt.Errorf("replicas of %s: %q: %w", lead.name, got, err)
		}
	}
	return st, nil
}

// whole waits until the product is whole.
func (p *place) whole(ctx context.Context) (standing, error) {
	var st standing
	err := cluster.Wait(ctx, p.namespace+" is whole", func(ctx context.Context) (bool, string, error) {
		var err error
		st, err = p.look(ctx)
		if err != nil {
			return false, "", err
		}
		missing := st.missing()
		return missing == "", missing, nil
	})
	return st, err
}

// askLimit bounds one question: a pod on a node that is gone does not answer, and says nothing.
const askLimit = 10 * time.Second

// sql asks a member's server as the superuser, over its socket.
func (p *place) sql(ctx context.Context, pod, query string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	out, err := p.s.Exec(ctx, p.namespace, pod, p.container, append(slices.Clone(p.psql), query)...)
	return strings.TrimSpace(out), err
}

// killPostmaster kills the server's first process and nothing else.
func (p *place) killPostmaster(ctx context.Context, pod string) error {
	_, err := p.s.Exec(ctx, p.namespace, pod, p.container, "sh", "-c", "kill -9 $(head -1 "+p.data+"/postmaster.pid)")
	return err
}

// deletePod takes a pod's name away at once, as `kubectl delete pod --force --grace-period=0` does.
func (p *place) deletePod(ctx context.Context, pod string) error {
	none := int64(0)
	return p.s.Client.CoreV1().Pods(p.namespace).Delete(ctx, pod, metav1.DeleteOptions{GracePeriodSeconds: &none})
}

// throughNode points a client at the Service's port on a node, which is how a load balancer outside the cluster comes in.
func (p *place) throughNode(ctx context.Context, app cluster.App, node string) (cluster.App, error) {
	svc, err := p.s.Client.CoreV1().Services(p.namespace).Get(ctx, p.service, metav1.GetOptions{})
	if err != nil {
		return app, err
	}
	n, err := p.s.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return app, err
	}
	i := slices.IndexFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Type == corev1.NodeInternalIP })
	if i < 0 || len(svc.Spec.Ports) == 0 || svc.Spec.Ports[0].NodePort == 0 {
		return app, fmt.Errorf("service %s has no port on node %s", p.service, node)
	}
	app.Address, app.Port = n.Status.Addresses[i].Address, int(svc.Spec.Ports[0].NodePort)
	return app, nil
}

// straight points a client at a member.
func straight(app cluster.App, m member) cluster.App {
	app.Address, app.Port = m.address, 5432
	return app
}

// endpoint is where an application's client connects, for messages.
func endpoint(app cluster.App) string { return net.JoinHostPort(app.Address, strconv.Itoa(app.Port)) }

// claims are the product's volume claims.
func (p *place) claims(ctx context.Context) ([]string, error) {
	list, err := p.s.Client.CoreV1().PersistentVolumeClaims(p.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range list.Items {
		names = append(names, c.Name)
	}
	return names, nil
}
