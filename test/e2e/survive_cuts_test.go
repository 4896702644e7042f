package e2e

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// TestCuts breaks lines: between members, to the API, one way. Each case ends as those of TestFailover do.
func TestCuts(t *testing.T) {
	if !haStands(t) {
		return
	}
	run(t, "primary_cut_off_from_its_peers", 2*time.Minute, primaryCutFromPeers)
	run(t, "primary_cut_off_from_the_api_hands_over", 3*time.Minute, primaryCutFromAPI)
	run(t, "replica_cut_off_from_the_api_changes_nothing", 2*time.Minute, replicaCutFromAPI)
	run(t, "primary_cannot_send", 2*time.Minute, func(t *testing.T, ctx context.Context) { oneWay(t, ctx, "from") })
	run(t, "primary_cannot_receive", 2*time.Minute, func(t *testing.T, ctx context.Context) { oneWay(t, ctx, "to") })
	run(t, "api_down_changes_nothing", 2*time.Minute, apiDown)
	run(t, "release_while_the_api_is_away", 2*time.Minute, releaseWithoutAPI)
	run(t, "two_pods_of_one_identity", 3*time.Minute, twoPodsOfOneIdentity)
}

// another waits until the record is of another epoch.
func (r *release) another(t *testing.T, ctx context.Context, before string) {
	t.Helper()
	err := cluster.Wait(ctx, "another member leads", func(ctx context.Context) (bool, string, error) {
		now := r.epoch(t, ctx)
		return now != before, "epoch " + now, nil
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}

// same demands that nobody else has led since.
func (r *release) sameEpoch(t *testing.T, ctx context.Context, before string) {
	t.Helper()
	if after := r.epoch(t, ctx); after != before {
		t.Errorf("epoch %s, before %s", after, before)
	}
}

// replica is one of the pods that are labelled so.
func (r *release) replica(t *testing.T, ctx context.Context) string {
	t.Helper()
	pods, err := site.Pods(ctx, r.namespace, r.databaseSelector()+",pgspan.io/role=replica")
	if err != nil || len(pods) == 0 {
		t.Fatalf("no replica: %v", err)
	}
	return pods[0].Name
}

func primaryCutFromPeers(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	// It holds the lease and goes on. The load balancer's address may lead through a node that is cut off from it, so clients may have to wait.
	ha.loses(t, ctx, 25*time.Second, func(primary string) {
		fault(t, "cut", "peers", ha.node(t, ctx, primary))
		time.Sleep(12 * time.Second)
		heal(t)
	})
	ha.whole(t, ctx)
	ha.sameEpoch(t, ctx, before)
}

// proxyLate is what clients may lose whose way leads through a node that was cut off from the API: its proxy asks again for what has changed after up to half
// a minute, and goes on sending them to the old primary until then.
const proxyLate = time.Minute

func primaryCutFromAPI(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, proxyLate, func(primary string) {
		fault(t, "cut", "api", ha.node(t, ctx, primary))
		ha.another(t, ctx, before) // the others can write to the API: after 20 s it hands over
		// The clients' way may lead through that node, whose proxy does not hear of the new primary: its old one reads only by now.
		heal(t)
	})
	ha.whole(t, ctx)
}

func replicaCutFromAPI(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	replica := ha.replica(t, ctx)
	ha.loses(t, ctx, time.Second, func(string) { fault(t, "cut", "api", ha.node(t, ctx, replica)); time.Sleep(12 * time.Second) })
	heal(t)
	ha.whole(t, ctx)
	ha.sameEpoch(t, ctx, before)
}

func oneWay(t *testing.T, ctx context.Context, direction string) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 18*time.Second, func(primary string) {
		fault(t, "cut", direction, ha.node(t, ctx, primary))
		ha.another(t, ctx, before)
	})
	heal(t)
	ha.whole(t, ctx)
}

// apiBack waits until the API server answers again.
func apiBack(t *testing.T, ctx context.Context) {
	t.Helper()
	heal(t)
	err := cluster.Wait(ctx, "the API server answers", func(ctx context.Context) (bool, string, error) {
		_, err := site.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err == nil, "", err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func apiDown(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 5*time.Second, func(string) { // far below a lease; the machine that loses its API server is busy for a moment
		fault(t, "stop", "api", site.Name)
		time.Sleep(20 * time.Second) // more than two leases
		apiBack(t, ctx)
	})
	ha.whole(t, ctx)
	ha.sameEpoch(t, ctx, before)
}

// The primary's container is told to end while its keeper cannot give the lease back: another member writes that for it. The node's own proxy knows of
// the new primary only when it reaches the API again, and the clients' way may lead through it.
func releaseWithoutAPI(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, proxyLate, func(primary string) {
		fault(t, "cut", "api", ha.node(t, ctx, primary))
		ha.signal(t, ctx, primary, "guard", "TERM")
		began := time.Now()
		ha.another(t, ctx, before)
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("another leads after %v: it has waited for the lease", took)
		}
		heal(t)
	})
	ha.whole(t, ctx)
}

// The primary's node is cut off from the API and its pod force-deleted: there is a second pod of that name, whose kubelet does not know yet.
func twoPodsOfOneIdentity(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 20*time.Second, func(primary string) {
		old, err := site.Client.CoreV1().Pods(ha.namespace).Get(ctx, primary, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		fault(t, "cut", "api", old.Spec.NodeName)
		none := int64(0)
		if err := site.Client.CoreV1().Pods(ha.namespace).Delete(ctx, primary, metav1.DeleteOptions{GracePeriodSeconds: &none}); err != nil {
			t.Fatal(err)
		}
		err = cluster.Wait(ctx, "a second pod has the name", func(ctx context.Context) (bool, string, error) {
			now, err := site.Client.CoreV1().Pods(ha.namespace).Get(ctx, primary, metav1.GetOptions{})
			return err == nil && now.UID != old.UID, "not yet", err
		})
		if err != nil {
			t.Fatal(err)
		}
		ha.another(t, ctx, before)
	})
	heal(t)
	ha.whole(t, ctx)
}
