package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gruntwork-io/terratest/modules/helm"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// TestRollouts changes settings and pods of the release by helm upgrade, under the writer.
func TestRollouts(t *testing.T) {
	if !haStands(t) {
		return
	}
	run(t, "raised_setting_restarts_servers_and_no_pod", 5*time.Minute, raisedSetting)
	run(t, "lowered_setting_begins_with_the_primary", 5*time.Minute, loweredSetting)
	run(t, "changed_pods_replicas_first", 6*time.Minute, changedPods)
	run(t, "failover_during_a_rollout", 6*time.Minute, failoverDuringRollout)
	run(t, "image_that_cannot_be_pulled_costs_one_replica", 8*time.Minute, imageThatCannotBePulled)
}

// rolls are the values of an upgrade that waits for its rollout.
func rolls(more map[string]string) map[string]string {
	out := map[string]string{"rollout.onUpgrade": "wait", "rollout.soak": "5s", "rollout.memberTimeout": "3m", "postgresql.parameters.max_connections": "90"}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// upgrade is helm upgrade, which may fail.
func (r *release) upgrade(t *testing.T, ctx context.Context, extra map[string]string) error {
	o := r.options(extra)
	o.ExtraArgs = map[string][]string{"upgrade": {"--timeout", "5m"}}
	return helm.UpgradeContextE(t, ctx, o, chart, r.name)
}

// members are the database pods by name.
func (r *release) members(t *testing.T, ctx context.Context) map[string]corev1.Pod {
	t.Helper()
	pods, err := site.Pods(ctx, r.namespace, r.databaseSelector())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]corev1.Pod{}
	for _, p := range pods {
		out[p.Name] = p
	}
	return out
}

// samePods demands that no pod is another one than before.
func (r *release) samePods(t *testing.T, ctx context.Context, before map[string]corev1.Pod) {
	t.Helper()
	for name, p := range r.members(t, ctx) {
		if p.UID != before[name].UID {
			t.Errorf("%s is another pod", name)
		}
	}
}

// all demands an answer of every member.
func (r *release) all(t *testing.T, ctx context.Context, query, want string) {
	t.Helper()
	for name := range r.members(t, ctx) {
		if got := strings.TrimSpace(r.sql(t, ctx, name, query)); got != want {
			t.Errorf("%s on %s: got %s, want %s", query, name, got, want)
		}
	}
}

func (r *release) rollsUnder(t *testing.T, ctx context.Context, limit time.Duration, values map[string]string) {
	t.Helper()
	r.loses(t, ctx, limit, func(string) {
		if err := r.upgrade(t, ctx, values); err != nil {
			t.Error(err)
		}
	})
	r.whole(t, ctx)
}

func raisedSetting(t *testing.T, ctx context.Context) {
	before, leader := ha.members(t, ctx), ha.primary(t, ctx)
	ha.rollsUnder(t, ctx, 4*time.Second, rolls(map[string]string{"postgresql.parameters.max_connections": "220", "users.late.connectionLimit": "3"})) // the chart's is 200
	ha.all(t, ctx, "show max_connections", "220")
	// The user who was added needs no new pod either.
	ha.eventually(t, ctx, ha.primary(t, ctx), "select rolconnlimit from pg_authid where rolname = 'late' and rolpassword like 'SCRAM-SHA-256%'", "3")
	ha.samePods(t, ctx, before)
	if now := ha.primary(t, ctx); now == leader {
		t.Errorf("%s still leads: it was not switched over", now)
	}
}

func loweredSetting(t *testing.T, ctx context.Context) {
	before, leader, epoch := ha.members(t, ctx), ha.primary(t, ctx), ha.epoch(t, ctx)
	ha.rollsUnder(t, ctx, 6*time.Second, rolls(nil))
	ha.all(t, ctx, "show max_connections", "90")
	ha.samePods(t, ctx, before)
	if now, e := ha.primary(t, ctx), ha.epoch(t, ctx); now != leader || e != epoch {
		t.Errorf("%s leads in epoch %s, want %s in %s: restarted in place", now, e, leader, epoch)
	}
}

func changedPods(t *testing.T, ctx context.Context) {
	before, leader := ha.members(t, ctx), ha.primary(t, ctx)
	ha.rollsUnder(t, ctx, 4*time.Second, rolls(map[string]string{"database.podAnnotations.changed": "once"}))
	after := ha.members(t, ctx)
	var order []string
	for name, p := range after {
		if p.UID == before[name].UID {
			t.Errorf("%s is the pod of before", name)
		}
		order = append(order, name)
	}
	slices.SortFunc(order, func(a, b string) int {
		return after[a].CreationTimestamp.Compare(after[b].CreationTimestamp.Time)
	})
	t.Logf("replaced in the order %v", order)
	if last := order[len(order)-1]; last != leader {
		t.Errorf("%s was replaced last, want %s, which led", last, leader)
	}
}

// failoverDuringRollout takes the primary's pod by force while the first replica's new pod is watched.
func failoverDuringRollout(t *testing.T, ctx context.Context) {
	before := ha.members(t, ctx)
	values := rolls(map[string]string{"database.podAnnotations.changed": "twice", "rollout.onUpgrade": "start"})
	ha.loses(t, ctx, 15*time.Second, func(primary string) {
		if err := ha.upgrade(t, ctx, values); err != nil {
			t.Fatal(err)
		}
		err := cluster.Wait(ctx, "a replica is being replaced", func(ctx context.Context) (bool, string, error) {
			pods, err := site.Pods(ctx, ha.namespace, ha.databaseSelector())
			for _, p := range pods {
				if p.Name != primary && p.UID != before[p.Name].UID {
					return true, "", nil
				}
			}
			return false, "none is", err
		})
		if err != nil {
			t.Fatal(err)
		}
		now := int64(0)
		if err := site.Client.CoreV1().Pods(ha.namespace).Delete(ctx, primary, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Fatal(err)
		}
	})
	ha.rolled(t, ctx, "done")
	ha.whole(t, ctx)
	for name, p := range ha.members(t, ctx) {
		if p.UID == before[name].UID {
			t.Errorf("%s is the pod of before", name)
		}
	}
}

// rolled waits for the end of the rollout in the record.
func (r *release) rolled(t *testing.T, ctx context.Context, state string) {
	t.Helper()
	err := cluster.Wait(ctx, "the rollout is "+state, func(ctx context.Context) (bool, string, error) {
		l, err := site.Client.CoordinationV1().Leases(r.namespace).Get(ctx, r.fullname, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		_, rollout, _ := strings.Cut(l.Annotations["pgspan.io/record"], `"rollout":`)
		return strings.Contains(rollout, fmt.Sprintf(`"state":%q`, state)), rollout, nil
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}

// imageThatCannotBePulled: the rollout stops at the first replica, the upgrade fails, and the next upgrade brings that replica back.
func imageThatCannotBePulled(t *testing.T, ctx context.Context) {
	before := ha.members(t, ctx)
	ha.loses(t, ctx, 4*time.Second, func(string) {
		if err := ha.upgrade(t, ctx, rolls(map[string]string{"database.image.tag": "none", "rollout.memberTimeout": "20s"})); err == nil {
			t.Error("the upgrade succeeded")
		}
		ha.rolled(t, ctx, "refused")
	})
	after, changed := ha.members(t, ctx), []string{}
	for name, p := range before {
		if after[name].UID != p.UID {
			changed = append(changed, name)
		}
	}
	if len(changed) != 1 || changed[0] == ha.primary(t, ctx) {
		t.Errorf("replaced: %v, want one replica", changed)
	}
	if err := ha.upgrade(t, ctx, rolls(map[string]string{"database.podAnnotations.changed": "twice"})); err != nil {
		t.Error(err)
	}
	ha.whole(t, ctx)
	for name, p := range ha.members(t, ctx) {
		if name != changed[0] && p.UID != before[name].UID {
			t.Errorf("%s was replaced although it was right all the time", name)
		}
	}
}
