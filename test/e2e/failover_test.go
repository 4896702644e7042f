package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"
)

// ha is the release whose leader is lost again and again: three members, one to a node.
var ha = newRelease(namespace, "ha", map[string]string{"replicas": "2"})

// TestFailover loses the leader in every way. Each case writes all the time and ends with a whole database: one writable member, the same
// rows on all, nothing acknowledged lost.
func TestFailover(t *testing.T) {
	run(t, "install", 4*time.Minute, func(t *testing.T, ctx context.Context) {
		ha.install(t, ctx, nil)
		ha.ready(t, ctx, 3)
		ha.whole(t, ctx)
	})
	if t.Failed() {
		return
	}
	run(t, "primary_pod_deleted_hands_over", 2*time.Minute, podDeleted)
	run(t, "postmaster_killed_comes_back_in_place", 2*time.Minute, postmasterKilled)
	run(t, "primary_pod_force_deleted", 2*time.Minute, podForceDeleted)
	run(t, "node_of_the_primary_dies", 3*time.Minute, nodeDies)
	run(t, "node_of_the_primary_is_frozen_and_thawed", 3*time.Minute, nodeFrozen)
	run(t, "node_of_the_primary_is_cut_off", 3*time.Minute, nodeCut)
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
		if _, err := one[string](ctx, app, "select txid_current()::text"); err != nil {
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
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
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
	ha.loses(t, ctx, 15*time.Second, func(primary string) { fault(t, "freeze", "node", ha.node(t, ctx, primary)); time.Sleep(3 * time.Second) })
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
