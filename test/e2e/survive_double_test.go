package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgspan/pgspan/test/cluster"
)

// TestDoubleFaults has more than one thing happen at once.
func TestDoubleFaults(t *testing.T) {
	if !haStands(t) {
		return
	}
	run(t, "lagging_replica_does_not_win", 2*time.Minute, laggingReplica)
	run(t, "old_primary_returns_diverged", 4*time.Minute, returnsDiverged)
	run(t, "failover_during_a_switchover", 2*time.Minute, failoverDuringSwitchover)
	run(t, "password_rotated_while_failing_over", 3*time.Minute, passwordRotated)
	run(t, "node_drained", 2*time.Minute, nodeDrained)
	run(t, "second_line_sees_two_writers", 2*time.Minute, twoWriters)
	run(t, "primary_and_a_replica_die_at_once", 4*time.Minute, twoNodesDie)
}

// forceDelete takes a pod out of the API and kills it at once.
func (r *release) forceDelete(t *testing.T, ctx context.Context, pod string) {
	t.Helper()
	none := int64(0)
	if err := site.Client.CoreV1().Pods(r.namespace).Delete(ctx, pod, metav1.DeleteOptions{GracePeriodSeconds: &none}); err != nil {
		t.Fatal(err)
	}
}

// inPod runs a shell line in a server's container.
func (r *release) inPod(t *testing.T, ctx context.Context, pod, line string) string {
	t.Helper()
	out, err := site.Exec(ctx, r.namespace, pod, "postgres", "sh", "-c", line)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func laggingReplica(t *testing.T, ctx context.Context) {
	lagging := ha.replica(t, ctx)
	receiver := ha.sql(t, ctx, lagging, "select pid from pg_stat_wal_receiver")
	ha.loses(t, ctx, 20*time.Second, func(primary string) {
		ha.inPod(t, ctx, lagging, "kill -STOP "+receiver)
		ha.sql(t, ctx, primary, "create table if not exists far_ahead as select i, repeat(md5(i::text), 20) as x from generate_series(1, 20000) i")
		ha.sql(t, ctx, primary, "select pg_sleep(1)") // the other replica has it all
		ha.forceDelete(t, ctx, primary)
		time.Sleep(2 * time.Second)
	})
	if now := ha.primary(t, ctx); now == lagging {
		t.Errorf("%s leads, which had received nothing for a while", now)
	}
	ha.inPod(t, ctx, lagging, "kill -CONT "+receiver+" 2>/dev/null || true") // it may have been ended
	ha.whole(t, ctx)
	ha.sql(t, ctx, ha.primary(t, ctx), `drop table if exists far_ahead`)
}

// The primary goes on for a moment while no replica hears it, and dies: what it acknowledged then is lost, as asynchronous mode allows, counted, and
// it comes back by a rewind.
func returnsDiverged(t *testing.T, ctx context.Context) {
	primary := ha.primary(t, ctx)
	before := ha.epoch(t, ctx)
	ha.sql(t, ctx, primary, "create table if not exists diverged (v int)")
	ha.whole(t, ctx)
	directory := ha.inPod(t, ctx, primary, "stat -c %i /var/lib/pgspan/pgdata")
	fault(t, "cut", "peers", ha.node(t, ctx, primary))
	ha.sql(t, ctx, primary, "insert into diverged select generate_series(1, 100)")
	ha.sql(t, ctx, primary, "checkpoint")
	fault(t, "kill", "node", ha.node(t, ctx, primary))
	ha.another(t, ctx, before)
	ha.written(t, ctx)
	heal(t)
	ha.whole(t, ctx)
	if got := ha.sql(t, ctx, ha.primary(t, ctx), "select count(*) from diverged"); got != "0" {
		t.Errorf("%s rows of the old primary's last moments are there: the case shows nothing", got)
	}
	if got := ha.inPod(t, ctx, primary, "stat -c %i /var/lib/pgspan/pgdata"); got != directory {
		t.Errorf("%s has another data directory: it was cloned, want a rewind in place", primary)
	}
	if kept := ha.inPod(t, ctx, primary, "ls -d /var/lib/pgspan/notes/diverged-*"); kept == "" {
		t.Errorf("%s kept nothing of what was given up", primary)
	}
	ha.sql(t, ctx, ha.primary(t, ctx), "drop table diverged")
}

func failoverDuringSwitchover(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 20*time.Second, func(primary string) {
		target := ha.replica(t, ctx)
		said := make(chan string, 1)
		go func() { said <- ha.role(ctx, target, "switchover", "--to", target) }()
		time.Sleep(300 * time.Millisecond) // the order is on its way, or being carried out
		ha.forceDelete(t, ctx, primary)
		t.Logf("role: %s", <-said)
	})
	ha.whole(t, ctx)
	if after := ha.epoch(t, ctx); after == before {
		t.Errorf("still epoch %s", after)
	}
}

// role gives an order through the keeper of a pod, and returns what was said.
func (r *release) role(ctx context.Context, pod string, words ...string) string {
	keepers := fmt.Sprintf("%s-members.%s.svc:8009", r.fullname, r.namespace)
	out, err := site.Exec(ctx, r.namespace, pod, "keeper", append([]string{"/usr/local/bin/role", "--keepers", keepers, "--timeout", "1m"}, words...)...)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out)
}

func passwordRotated(t *testing.T, ctx context.Context) {
	app := ha.app(t, ctx, "rw")
	old := app.Password
	app.Password = fmt.Sprintf("rotated-%d", time.Now().UnixNano())
	patch := fmt.Sprintf(`{"stringData":{"password":%q}}`, app.Password)
	for _, secret := range []string{ha.fullname + "-user-app", ha.fullname + "-app-app"} {
		if _, err := site.Client.CoreV1().Secrets(ha.namespace).Patch(ctx, secret, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ha.forceDelete(t, ctx, ha.primary(t, ctx))
	err := cluster.Wait(ctx, "the new password is good for writing", func(ctx context.Context) (bool, string, error) {
		_, err := one[string](ctx, app, "select pg_logical_emit_message(true, 'e2e', '')::text")
		return err == nil, "", err
	})
	if err != nil {
		ha.evidence(t)
		t.Fatal(err)
	}
	app.Password = old
	if _, err := one[string](ctx, app, "select 'in'"); err == nil {
		t.Error("the old password still lets in")
	}
	ha.whole(t, ctx)
}

func nodeDrained(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	evict := func(pod string) error {
		return site.Client.PolicyV1().Evictions(ha.namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: ha.namespace}})
	}
	node := ha.node(t, ctx, ha.primary(t, ctx))
	cordon(t, ctx, node, true)
	t.Cleanup(func() { cordon(t, context.WithoutCancel(ctx), node, false) })
	other := ha.replica(t, ctx)
	ha.loses(t, ctx, 4*time.Second, func(primary string) {
		if err := evict(primary); err != nil {
			t.Fatalf("evict %s: %v", primary, err)
		}
		// One is away: the budget lets no second one go.
		err := cluster.Wait(ctx, "a second eviction is refused", func(ctx context.Context) (bool, string, error) {
			p, err := site.Client.CoreV1().Pods(ha.namespace).Get(ctx, primary, metav1.GetOptions{})
			return errors.IsNotFound(err) || err == nil && p.Status.Phase == corev1.PodPending, "not gone yet", nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := evict(other); !errors.IsTooManyRequests(err) {
			t.Errorf("a second member was evicted: %v", err)
		}
	})
	if after := ha.epoch(t, ctx); after == before {
		t.Errorf("still epoch %s", after)
	}
	cordon(t, ctx, node, false)
	ha.whole(t, ctx)
}

func cordon(t *testing.T, ctx context.Context, node string, closed bool) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"unschedulable":%v}}`, closed)
	if _, err := site.Client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Errorf("cordon %s: %v", node, err)
	}
}

func twoNodesDie(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	replica := ha.replica(t, ctx)
	ha.loses(t, ctx, 25*time.Second, func(primary string) {
		nodes := []string{ha.node(t, ctx, primary), ha.node(t, ctx, replica)}
		for _, n := range nodes {
			fault(t, "kill", "node", n)
		}
		ha.another(t, ctx, before)
	})
	heal(t)
	ha.whole(t, ctx)
}

// A replica whose keeper and guard are both frozen is opened by hand: nobody of its own can stop it, and the leader's keeper raises the alarm. It must
// not do more than that.
func twoWriters(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	primary, replica := ha.primary(t, ctx), ha.replica(t, ctx)
	ha.loses(t, ctx, time.Second, func(string) {
		ha.signal(t, ctx, replica, "keeper", "STOP")
		ha.signal(t, ctx, replica, "guard", "STOP")
		_, _ = site.SQL(ctx, ha.namespace, replica, "select pg_promote(false)") // its session may die with the server
		ha.says(t, ctx, primary, "keeper", `"alarm":"TwoWriters"`)
		if said := ha.role(ctx, primary, "status"); !strings.Contains(said, "ALARM") {
			t.Errorf("role status says nothing of it:\n%s", said)
		}
		err := cluster.Wait(ctx, "an event tells of it", func(ctx context.Context) (bool, string, error) {
			events, err := site.Client.CoreV1().Events(ha.namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=TwoWriters,involvedObject.name=" + primary})
			return err == nil && len(events.Items) > 0, "none", err
		})
		if err != nil {
			t.Error(err)
		}
		ha.signal(t, ctx, replica, "keeper", "CONT")
	})
	ha.whole(t, ctx)
	ha.sameEpoch(t, ctx, before)
}
