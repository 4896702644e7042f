package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/lab/node"
	"github.com/pgspan/pgspan/test/lab/provisioner"
	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/pgspan/pgspan/test/lab/wan"
)

// check is one thing that works or does not.
type check struct {
	what string
	// ask returns why it does not work, nil when it works.
	ask func(context.Context) error
	// patience is how long one try may take, oneTry when 0.
	patience time.Duration
}

const (
	// oneTry is how long one try of a check may take. Packets that vanish are noticed only by waiting.
	oneTry = 3 * time.Second
	// meetingPort is where checks between hosts meet.
	meetingPort = 7777
)

func (b *bench) machineReaches(h topology.Host) check {
	return check{what: "the machine reaches the load balancer of the pod on " + h.Name, ask: func(ctx context.Context) error {
		_, err := b.fromMachine(ctx, h, "/")
		return err
	}}
}

func (b *bench) apiAnswers(s topology.Site) check {
	return check{what: "the machine reaches the API server of " + s.Name, ask: func(ctx context.Context) error {
		return b.clients[s.Name].Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}}
}

func (b *bench) podReaches(from, to topology.Host) check {
	what := fmt.Sprintf("the pod on %s reaches the load balancer of the pod on %s", from.Name, to.Name)
	return check{what: what, ask: func(ctx context.Context) error { return b.inPod(ctx, from, b.probes[to.Name].url) }}
}

func (b *bench) podResolves(h topology.Host) check {
	return check{what: "the pod on " + h.Name + " resolves names", ask: func(ctx context.Context) error {
		_, err := b.fromMachine(ctx, h, "/resolve?name=kubernetes.default.svc."+topology.ClusterDomain)
		return err
	}}
}

func (b *bench) hostReaches(from, to topology.Host, port int) check {
	what := fmt.Sprintf("host %s reaches %s:%d", from.Name, to.Name, port)
	return check{what: what, ask: func(ctx context.Context) error {
		conn, err := wan.Dial(ctx, wan.HostNamespace(from.Name), "tcp", target(to, port))
		if err != nil {
			return err
		}
		return conn.Close()
	}}
}

func (b *bench) nodeReachesAPI(h topology.Host) check {
	return b.hostReaches(h, h.Site.ControlPlane(), topology.APIPort)
}

func (b *bench) hostsMeet(from, to topology.Host) check {
	return b.hostReaches(from, to, node.ProxyHealthPort)
}

// datagramsArrive shows one direction alone: nothing has to come back.
func (b *bench) datagramsArrive(from, to topology.Host) check {
	return check{what: fmt.Sprintf("a datagram from %s arrives at %s", from.Name, to.Name), ask: func(ctx context.Context) error {
		lost, err := datagrams(ctx, from, to, 5)
		if err == nil && lost == 1 {
			err = errors.New("none arrived")
		}
		return err
	}}
}

// loses measures how many datagrams vanish between two hosts.
func (b *bench) loses(from, to topology.Host, least, most float64) check {
	what := fmt.Sprintf("from %s to %s %g%% to %g%% of datagrams are lost", from.Name, to.Name, 100*least, 100*most)
	return check{what: what, ask: func(ctx context.Context) error {
		lost, err := datagrams(ctx, from, to, 1000)
		if err == nil && (lost < least || lost > most) {
			err = fmt.Errorf("%.1f%% are lost", 100*lost)
		}
		return err
	}}
}

// datagrams sends some datagrams and returns the share that did not arrive within a second of the last one.
func datagrams(ctx context.Context, from, to topology.Host, count int) (lost float64, err error) {
	listener, err := wan.ListenPacket(ctx, wan.HostNamespace(to.Name), "udp", target(to, meetingPort))
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	conn, err := wan.Dial(ctx, wan.HostNamespace(from.Name), "udp", target(to, meetingPort))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	arrived := make(chan int, 1)
	go func() { arrived <- countArriving(listener, count) }()
	for range count {
		if _, err := conn.Write([]byte("lab")); err != nil {
			return 0, err
		}
		time.Sleep(100 * time.Microsecond)
	}
	return float64(count-<-arrived) / float64(count), nil
}

// countArriving counts datagrams until all have come, or none has for a second.
func countArriving(listener net.PacketConn, all int) int {
	buffer := make([]byte, 16)
	for arrived := range all {
		if err := listener.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return arrived
		}
		if _, _, err := listener.ReadFrom(buffer); err != nil {
			return arrived
		}
	}
	return all
}

// roundTrip measures the time to open a connection, which is one way there and one back.
func (b *bench) roundTrip(from, to topology.Host, least, most time.Duration) check {
	what := fmt.Sprintf("a round trip from %s to %s takes %s to %s", from.Name, to.Name, least, most)
	return check{what: what, ask: func(ctx context.Context) error {
		best := time.Hour
		for range 5 {
			began := time.Now()
			if err := b.hostsMeet(from, to).ask(ctx); err != nil {
				return err
			}
			best = min(best, time.Since(began))
		}
		if best < least || best > most {
			return fmt.Errorf("it takes %s", best.Round(10*time.Microsecond))
		}
		return nil
	}}
}

// carries measures what a connection between two hosts transports, in megabits per second.
func (b *bench) carries(from, to topology.Host, least, most float64) check {
	what := fmt.Sprintf("a connection from %s to %s carries %g to %g Mbit/s", from.Name, to.Name, least, most)
	return check{what: what, ask: func(ctx context.Context) error {
		got, err := transfer(ctx, from, to)
		if err == nil && (got < least || got > most) {
			err = fmt.Errorf("it carries %.1f Mbit/s", got)
		}
		return err
	}}
}

func transfer(ctx context.Context, from, to topology.Host) (megabits float64, err error) {
	const size = 2 << 20
	listener, err := wan.Listen(ctx, wan.HostNamespace(to.Name), "tcp", target(to, meetingPort))
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	sent := make(chan error, 1)
	go func() {
		conn, err := wan.Dial(ctx, wan.HostNamespace(from.Name), "tcp", target(to, meetingPort))
		if err == nil {
			_, err = conn.Write(make([]byte, size))
			err = errors.Join(err, conn.Close())
		}
		if err != nil {
			_ = listener.Close()
		}
		sent <- err
	}()
	conn, err := listener.Accept()
	if err != nil {
		return 0, errors.Join(err, <-sent)
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	n, err := io.Copy(io.Discard, conn)
	if err != nil {
		return 0, err
	}
	if n != size {
		return 0, fmt.Errorf("%d bytes of %d arrived", n, size)
	}
	return float64(8*n) / 1e6 / time.Since(began).Seconds(), <-sent
}

// writes shows that a volume takes data at more than a crawl.
func (b *bench) writes(h topology.Host) check {
	return check{what: "the pod on " + h.Name + " writes 1 MiB to its volume", ask: func(ctx context.Context) error {
		_, err := b.write(ctx, h, 1<<20, true)
		return err
	}}
}

// writesWithin bounds the time of some synced writes, as a database makes at a commit.
func (b *bench) writesWithin(h topology.Host, least, most time.Duration) check {
	what := fmt.Sprintf("20 synced writes of the pod on %s take %s to %s", h.Name, least, most)
	return check{what: what, ask: func(ctx context.Context) error {
		took, err := b.write(ctx, h, 20*8192, true)
		if err == nil && (took < least || took > most) {
			err = fmt.Errorf("they take %s", took)
		}
		return err
	}, patience: 10 * time.Second}
}

// restarts counts how often the container of the pod on a node was started again.
// outOfService tells Kubernetes whether a node is gone for good, as a person does of a dead one: its volumes are detached at once then, and not
// after six minutes (node.kubernetes.io/out-of-service).
func (b *bench) outOfService(ctx context.Context, h topology.Host, gone bool) error {
	nodes := b.clients[h.Site.Name].CoreV1().Nodes()
	node, err := nodes.Get(ctx, h.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	is := func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService }
	if slices.ContainsFunc(node.Spec.Taints, is) == gone {
		return nil
	}
	node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, is)
	if gone {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute})
	}
	_, err = nodes.Update(ctx, node, metav1.UpdateOptions{})
	return err
}

func (b *bench) backInService(h topology.Host) check {
	return check{what: h.Name + " is back in service", ask: func(ctx context.Context) error { return b.outOfService(ctx, h, false) }}
}

// volumeFollows moves the pod whose volume any node can have away from its dead node, and demands what it wrote there.
func (b *bench) volumeFollows(from, to topology.Host) check {
	return check{what: "a volume of " + provisioner.NetworkClass + " follows its pod to " + to.Name, patience: 15 * time.Second, ask: func(ctx context.Context) error {
		client, p := b.clients[b.roaming.Site.Name], b.roaming
		pod, err := client.CoreV1().Pods(p.Namespace).Get(ctx, probeName, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err != nil || pod.Spec.NodeSelector[corev1.LabelHostname] != to.Name {
			if err := errors.Join(b.outOfService(ctx, from, true), p.Move(ctx, client, to.Name)); err != nil {
				return err
			}
		}
		answer, err := client.CoreV1().Pods(p.Namespace).ProxyGet("http", probeName, probePort, "/df", map[string]string{"path": "/data"}).DoRaw(ctx)
		if err != nil {
			return err
		}
		var size, used int64
		if _, err := fmt.Sscan(string(answer), &size, &used); err != nil {
			return fmt.Errorf("df says %q: %w", answer, err)
		}
		if used < roamingBytes {
			return fmt.Errorf("there are %d bytes on it, want the %d that were written", used, roamingBytes)
		}
		return nil
	}}
}

func (b *bench) restarts(h topology.Host, want int32) check {
	return check{what: fmt.Sprintf("the pod on %s has been restarted %d times", h.Name, want), ask: func(ctx context.Context) error {
		pod, err := b.pod(ctx, h)
		if err != nil {
			return err
		}
		if len(pod.Status.ContainerStatuses) != 1 {
			return errors.New("it has no status")
		}
		if got := pod.Status.ContainerStatuses[0].RestartCount; got != want {
			return fmt.Errorf("it has been restarted %d times", got)
		}
		return nil
	}}
}

func target(h topology.Host, port int) string {
	return net.JoinHostPort(h.Address().String(), strconv.Itoa(port))
}
