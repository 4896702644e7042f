package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"
)

// ha is the release whose leader is lost again and again: three members, one to a node.
var ha = newRelease(namespace, "ha", map[string]string{"replicas": "2", "probe.every": "2s"})

// This file's name puts its cases behind those that look at how a release came up: nodes that die restart every pod on them.

// TestFailover loses the leader, or what belongs to it, in many ways. Each case writes all the time and ends with a whole database: one writable member, the same
// rows on all, nothing acknowledged lost.
func TestFailover(t *testing.T) {
	if !haStands(t) {
		return
	}
	run(t, "primary_pod_deleted_hands_over", 2*time.Minute, podDeleted)
	run(t, "postmaster_killed_comes_back_in_place", 2*time.Minute, postmasterKilled)
	run(t, "primary_pod_force_deleted", 2*time.Minute, podForceDeleted)
	run(t, "backend_killed_ends_in_a_restart_in_place", 2*time.Minute, backendKilled)
	run(t, "keeper_killed_changes_nothing", 2*time.Minute, keeperKilled)
	run(t, "keeper_frozen_is_fenced_by_guard", 2*time.Minute, keeperFrozen)
	run(t, "guard_killed_takes_the_server_with_it", 2*time.Minute, guardKilled)
	run(t, "guard_frozen_is_killed_by_its_probe", 2*time.Minute, guardFrozen)
	run(t, "replica_promoted_by_hand_is_stopped_and_brought_back", 2*time.Minute, promotedByHand)
	run(t, "replica_cut_off_changes_nothing", 2*time.Minute, replicaCut)
	run(t, "node_of_the_primary_dies", 4*time.Minute, nodeDies)
	run(t, "node_of_the_primary_is_frozen_and_thawed", 3*time.Minute, nodeFrozen)
	run(t, "node_of_the_primary_is_cut_off", 3*time.Minute, nodeCut)
}

// haUp: it was installed in this run.
var haUp bool

// haStands brings the release up with its own values, whatever test came before, and says whether it is there.
func haStands(t *testing.T) bool {
	t.Helper()
	run(t, "install", 4*time.Minute, func(t *testing.T, ctx context.Context) {
		if !haUp { // whoever changes its values changes them back
			ha.install(t, ctx, nil)
			ha.ready(t, ctx, 3)
		}
		ha.whole(t, ctx)
		haUp = true
	})
	return !t.Failed()
}

// fault brings a fault of the lab about, and undoes it when the test ends, if it was not undone before.
func fault(t *testing.T, words ...string) {
	t.Helper()
	if out, err := exec.Command(lab(), words...).CombinedOutput(); err != nil {
		t.Fatalf("lab %s: %v\n%s", strings.Join(words, " "), err, out)
	}
	t.Cleanup(func() { heal(t) })
}

func heal(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(lab(), "heal").CombinedOutput(); err != nil {
		t.Errorf("lab heal: %v\n%s", err, out)
	}
}

// loses runs a fault under the writer and demands that the gap ends within limit, that nothing acknowledged is lost, and a whole database
// in the end.
func (r *release) loses(t *testing.T, ctx context.Context, limit time.Duration, act func(primary string)) writer.Outcome {
	t.Helper()
	primary := r.primary(t, ctx)
	before := r.epoch(t, ctx)
	o := r.writing(t, ctx, strings.ReplaceAll(strings.ToLower(t.Name()[strings.LastIndex(t.Name(), "/")+1:]), "-", "_"), func() {
		act(primary)
		r.written(t, ctx)
	})
	t.Logf("%s led in epoch %s: %v", primary, before, o)
	cases.remark("%s: gap %.2f s, %d acknowledged, %d lost, %d in doubt, overlap %s", t.Name(), o.Gap.Seconds(), o.Acked, len(o.Lost), o.InDoubt, o.Overlap)
	if len(o.Lost) > 0 || len(o.Phantom) > 0 || o.Overlap > 0 {
		t.Errorf("%d acknowledged rows lost %v, %d phantoms, overlap %s", len(o.Lost), o.Lost, len(o.Phantom), o.Overlap)
	}
	if o.Gap > limit {
		t.Errorf("nothing was written for %s, want %s or less", o.Gap, limit)
	}
	return o
}

// written waits until a write through -rw succeeds again after a moment in which none may have.
func (r *release) written(t *testing.T, ctx context.Context) {
	t.Helper()
	app := r.app(t, ctx, "rw")
	good := 0
	err := cluster.Wait(ctx, "writes succeed again", func(ctx context.Context) (bool, string, error) {
		if _, err := one[string](ctx, app, "select pg_logical_emit_message(true, 'e2e', '')::text"); err != nil {
			good = 0
			return false, err.Error(), nil
		}
		good++
		return good >= 5, "writes succeed", nil
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}

// epoch is that of the record.
func (r *release) epoch(t *testing.T, ctx context.Context) string {
	t.Helper()
	l, err := site.Client.CoordinationV1().Leases(r.namespace).Get(ctx, r.fullname, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	record := l.Annotations["pgspan.io/record"]
	_, rest, _ := strings.Cut(record, `"epoch":{"site":`)
	rest, _, _ = strings.Cut(rest, "}")
	return strings.Replace(rest, `,"local":`, ".", 1)
}

// whole waits until all members run, one writes, the others stream from it, and demands that their rows are the same: a lag of 0 proves
// nothing (a member on another past can have it).
func (r *release) whole(t *testing.T, ctx context.Context) {
	t.Helper()
	r.ready(t, ctx, 3)
	const sums = `select coalesce(string_agg(c.relname || '=' || (xpath('/row/h/text()', query_to_xml(
			format('select md5(coalesce(string_agg(r::text, %L order by r::text), %L)) as h from %I.%I r', ',', '', n.nspname, c.relname),
			false, true, '')))[1]::text, ' ' order by c.relname), 'none')
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and n.nspname = 'public'`
	err := cluster.Wait(ctx, "one member writes, two stream, and all have the same rows", func(ctx context.Context) (bool, string, error) {
		pods, err := site.Pods(ctx, r.namespace, r.databaseSelector())
		if err != nil {
			return false, "", err
		}
		writable, streaming, at, seen := 0, "", "", map[string]bool{}
		for _, p := range pods {
			got, err := site.SQL(ctx, r.namespace, p.Name, "select pg_is_in_recovery()")
			if err != nil {
				return false, p.Name, err
			}
			if got != "f" {
				continue
			}
			writable++
			if streaming, err = site.SQL(ctx, r.namespace, p.Name, "select count(*) from pg_stat_replication where state = 'streaming'"); err != nil {
				return false, p.Name, err
			}
			if at, err = site.SQL(ctx, r.namespace, p.Name, "select pg_current_wal_flush_lsn()"); err != nil {
				return false, p.Name, err
			}
		}
		if writable != 1 || streaming != fmt.Sprint(len(pods)-1) {
			return false, fmt.Sprintf("%d writable, %s streaming", writable, streaming), nil
		}
		for _, p := range pods {
			if got, err := site.SQL(ctx, r.namespace, p.Name, "select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() >= '"+at+"' else true end"); err != nil || got != "t" {
				return false, p.Name + " has not replayed all", err
			}
		}
		for _, p := range pods {
			// Applications' tables live in the users' databases.
			got, err := site.Exec(ctx, r.namespace, p.Name, "postgres", "psql", "-h", "/pgspan/socket", "-U", "postgres", "-XAtqd", "app", "-c", sums)
			if err != nil {
				return false, p.Name, err
			}
			seen[got] = true
		}
		return len(seen) == 1, fmt.Sprintf("%d different contents", len(seen)), nil
	})
	if err == nil {
		err = cluster.Wait(ctx, "no step is open on a volume, and every slot is a member's", r.tidy)
	}
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}

// tidy looks for what an interrupted step leaves: an open journal, a clone's directory or slot, a slot of nobody or of the member itself.
func (r *release) tidy(ctx context.Context) (bool, string, error) {
	pods, err := site.Pods(ctx, r.namespace, r.databaseSelector())
	if err != nil {
		return false, "", err
	}
	slots := map[string]bool{}
	for _, p := range pods {
		slots[slotOf(p)] = true
	}
	for _, p := range pods {
		open, err := site.Exec(ctx, r.namespace, p.Name, "postgres", "sh", "-c", "cd /var/lib/pgspan && ls -d notes/journal pgdata.new pgdata.old 2>/dev/null || true")
		if err != nil {
			return false, p.Name, err
		}
		if open != "" {
			return false, p.Name + " has " + strings.TrimSpace(open), nil
		}
		got, err := site.SQL(ctx, r.namespace, p.Name, "select slot_name from pg_replication_slots")
		if err != nil {
			return false, p.Name, err
		}
		for _, slot := range strings.Fields(got) {
			if !slots[slot] || slot == slotOf(p) {
				return false, p.Name + " has the slot " + slot, nil
			}
		}
	}
	return true, "", nil
}

// slotOf is the name of a member's slot.
func slotOf(p corev1.Pod) string {
	return "pgspan_" + strings.ReplaceAll(p.Annotations["pgspan.io/member"], "-", "_")
}

func podDeleted(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 4*time.Second, func(primary string) {
		if err := site.Client.CoreV1().Pods(ha.namespace).Delete(ctx, primary, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
	})
	ha.whole(t, ctx)
	if after := ha.epoch(t, ctx); after == before {
		t.Errorf("still epoch %s", after)
	}
}

func postmasterKilled(t *testing.T, ctx context.Context) {
	ha.loses(t, ctx, 6*time.Second, func(primary string) {
		if _, err := site.Exec(ctx, ha.namespace, primary, "postgres", "sh", "-c", "kill -9 $(head -1 /var/lib/pgspan/pgdata/postmaster.pid)"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
	})
	ha.whole(t, ctx)
}

func podForceDeleted(t *testing.T, ctx context.Context) {
	ha.loses(t, ctx, 15*time.Second, func(primary string) {
		none := int64(0)
		if err := site.Client.CoreV1().Pods(ha.namespace).Delete(ctx, primary, metav1.DeleteOptions{GracePeriodSeconds: &none}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
	})
	ha.whole(t, ctx)
}

func backendKilled(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 6*time.Second, func(primary string) { // as the kernel does it to the largest one when memory runs out
		pid := ha.sql(t, ctx, primary, "select pid from pg_stat_activity where usename = 'app' limit 1")
		if _, err := site.Exec(ctx, ha.namespace, primary, "postgres", "sh", "-c", "kill -9 "+pid); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
	})
	ha.whole(t, ctx)
	if after := ha.epoch(t, ctx); after != before {
		t.Logf("epoch %s, before %s: it was handed over", after, before)
	}
}

func keeperKilled(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, time.Second, func(primary string) { ha.signal(t, ctx, primary, "keeper", "KILL"); time.Sleep(8 * time.Second) })
	ha.whole(t, ctx)
	if after := ha.epoch(t, ctx); after != before {
		t.Errorf("epoch %s, before %s: a keeper that is restarted at once costs nothing", after, before)
	}
}

func keeperFrozen(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	var primary string
	ha.loses(t, ctx, 15*time.Second, func(p string) {
		primary = p
		ha.signal(t, ctx, p, "keeper", "STOP")
		err := cluster.Wait(ctx, "another member leads", func(ctx context.Context) (bool, string, error) {
			now := ha.epoch(t, ctx)
			return now != before, "epoch " + now, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	ha.signal(t, ctx, primary, "keeper", "CONT")
	ha.whole(t, ctx)
}

func guardKilled(t *testing.T, ctx context.Context) {
	ha.loses(t, ctx, 15*time.Second, func(primary string) { ha.signal(t, ctx, primary, "guard", "KILL"); time.Sleep(2 * time.Second) })
	ha.whole(t, ctx)
}

func guardFrozen(t *testing.T, ctx context.Context) {
	// The server goes on: its keeper renews as long as the volume's lock is held and guard may only be slow. Kubernetes ends the container.
	ha.loses(t, ctx, 30*time.Second, func(primary string) { ha.signal(t, ctx, primary, "guard", "STOP"); time.Sleep(15 * time.Second) })
	ha.whole(t, ctx)
}

func promotedByHand(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	replica := ""
	pods, err := site.Pods(ctx, ha.namespace, ha.databaseSelector()+",pgspan.io/role=replica")
	if err != nil || len(pods) == 0 {
		t.Fatalf("no replica: %v", err)
	}
	replica = pods[0].Name
	ha.loses(t, ctx, time.Second, func(string) {
		_, _ = site.SQL(ctx, ha.namespace, replica, "select pg_promote(false)") // its session may die with the server
		time.Sleep(5 * time.Second)
	})
	ha.whole(t, ctx)
	if after := ha.epoch(t, ctx); after != before {
		t.Errorf("epoch %s, before %s", after, before)
	}
}

func replicaCut(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	pods, err := site.Pods(ctx, ha.namespace, ha.databaseSelector()+",pgspan.io/role=replica")
	if err != nil || len(pods) == 0 {
		t.Fatalf("no replica: %v", err)
	}
	// The load balancer's address may have been that node's, and takes some seconds to move.
	ha.loses(t, ctx, 6*time.Second, func(string) { fault(t, "cut", "node", pods[0].Spec.NodeName); time.Sleep(15 * time.Second) })
	heal(t)
	ha.whole(t, ctx)
	if after := ha.epoch(t, ctx); after != before {
		t.Errorf("epoch %s, before %s", after, before)
	}
}

// node is where a pod runs.
func (r *release) node(t *testing.T, ctx context.Context, pod string) string {
	t.Helper()
	p, err := site.Client.CoreV1().Pods(r.namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Spec.NodeName
}

func nodeDies(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 15*time.Second, func(primary string) { fault(t, "kill", "node", ha.node(t, ctx, primary)); time.Sleep(3 * time.Second) })
	if after := ha.epoch(t, ctx); after == before {
		t.Errorf("still epoch %s", after)
	}
	heal(t)
	ha.whole(t, ctx)
}

func nodeFrozen(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 15*time.Second, func(primary string) {
		fault(t, "freeze", "node", ha.node(t, ctx, primary))
		time.Sleep(3 * time.Second)
	})
	if after := ha.epoch(t, ctx); after == before {
		t.Errorf("still epoch %s", after)
	}
	heal(t)
	ha.whole(t, ctx)
}

func nodeCut(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 15*time.Second, func(primary string) { fault(t, "cut", "node", ha.node(t, ctx, primary)); time.Sleep(3 * time.Second) })
	if after := ha.epoch(t, ctx); after == before {
		t.Errorf("still epoch %s", after)
	}
	heal(t)
	ha.whole(t, ctx)
}
