package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgspan/pgspan/test/cluster"
)

// TestOrders is what people ask of a site, by role in the lab.
func TestOrders(t *testing.T) {
	if !haStands(t) {
		return
	}
	run(t, "switchover_to_a_named_member", 2*time.Minute, switchoverToNamed)
	run(t, "paused_site_elects_nobody", 2*time.Minute, pausedSite)
	run(t, "fenced_member_stays_stopped", 2*time.Minute, fencedMember)
}

func switchoverToNamed(t *testing.T, ctx context.Context) {
	var old, target, directory string
	ha.loses(t, ctx, 3*time.Second, func(primary string) {
		old, target = primary, ha.replica(t, ctx)
		directory = ha.inPod(t, ctx, old, "stat -c %i /var/lib/pgspan/pgdata")
		if said, code := ha.plugin(t, ctx, "switchover", "--to", target); code != 0 || !strings.Contains(said, target) {
			t.Errorf("kubectl pgspan switchover: exit code %d: %s", code, said)
		}
	})
	if now := ha.primary(t, ctx); now != target {
		t.Errorf("%s leads, want %s", now, target)
	}
	ha.whole(t, ctx)
	said, _ := ha.plugin(t, ctx, "status") // the trace outlives the change
	_, trace, _ := strings.Cut(said, "last change of leaders: ")
	trace, _, _ = strings.Cut(trace, "\n")
	t.Log(trace)
	for _, stage := range []string{target + " follows " + old, "prepare ", "stop ", "elect ", "promote ", "publish ", "proxy "} {
		if !strings.Contains(trace, stage) {
			t.Errorf("%q is not told: %s", stage, said)
		}
	}
	if refused, code := ha.plugin(t, ctx, "promote", "nobody"); code != 3 {
		t.Errorf("kubectl pgspan promote nobody: exit code %d: %s; want 3, which is role's for what is refused", code, refused)
	}
	if got := ha.inPod(t, ctx, old, "stat -c %i /var/lib/pgspan/pgdata"); got != directory {
		t.Errorf("%s was cloned anew", old)
	}
}

// plugin is kubectl's, as people call it, and its exit code.
func (r *release) plugin(t *testing.T, ctx context.Context, words ...string) (string, int) {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"pgspan"}, words...)
	cmd := exec.CommandContext(ctx, "kubectl", append(args, "--namespace", r.namespace, "--context", site.Name, "--release", r.fullname)...)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+site.Kubeconfig)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("kubectl pgspan: %v; `make agents` builds it into bin/", err)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

func pausedSite(t *testing.T, ctx context.Context) {
	helper := ha.replica(t, ctx)
	if said := ha.role(ctx, helper, "pause", "--for", "5m", "--reason", "e2e"); strings.Contains(said, "exit code") {
		t.Fatalf("role: %s", said)
	}
	resumed := false
	resume := func() {
		if said := ha.role(context.WithoutCancel(ctx), helper, "resume"); strings.Contains(said, "exit code") {
			t.Errorf("role: %s", said)
		}
		resumed = true
	}
	t.Cleanup(func() {
		if !resumed {
			resume()
		}
	})
	var before string
	ha.loses(t, ctx, 60*time.Second, func(primary string) {
		before = primary
		ha.forceDelete(t, ctx, primary)
		time.Sleep(time.Second)
	})
	if now := ha.primary(t, ctx); now != before {
		t.Errorf("%s leads although elections are paused: only %s may", now, before)
	}
	resume()
	ha.whole(t, ctx)
}

func fencedMember(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	fenced, helper := ha.replica(t, ctx), ha.primary(t, ctx)
	ha.loses(t, ctx, time.Second, func(string) {
		if said := ha.role(ctx, helper, "fence", fenced, "--reason", "e2e"); strings.Contains(said, "exit code") {
			t.Fatalf("role: %s", said)
		}
		ha.forceDelete(t, ctx, fenced) // it survives a restart
		ha.says(t, ctx, fenced, "keeper", "fenced by hand")
	})
	if _, err := site.SQL(ctx, ha.namespace, fenced, "select 1"); err == nil {
		t.Errorf("the server of %s answers", fenced)
	}
	if said := ha.role(ctx, helper, "unfence", fenced); strings.Contains(said, "exit code") {
		t.Errorf("role: %s", said)
	}
	ha.whole(t, ctx)
	ha.sameEpoch(t, ctx, before)
}

// TestSynchronous makes commits wait for replicas.
func TestSynchronous(t *testing.T) {
	if !haStands(t) {
		return
	}
	run(t, "any_one_loses_nothing_with_the_primarys_node", 4*time.Minute, anyOne)
	run(t, "strict_waits_rather_than_acknowledge_alone", 4*time.Minute, strict)
	run(t, "asynchronous_again", 2*time.Minute, func(t *testing.T, ctx context.Context) { ha.install(t, ctx, nil); ha.whole(t, ctx) })
}

// nudge has kubelet look at its pods at once; it brings a changed ConfigMap within a minute or more otherwise.
func (r *release) nudge(t *testing.T, ctx context.Context) {
	t.Helper()
	pods, err := site.Pods(ctx, r.namespace, r.databaseSelector())
	if err != nil {
		t.Fatal(err)
	}
	patch := []byte(fmt.Sprintf(`{"metadata":{"annotations":{"e2e/nudge":"%d"}}}`, time.Now().UnixNano()))
	for _, p := range pods {
		if _, err := site.Client.CoreV1().Pods(r.namespace).Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// synchronous asks for a mode and waits until the record promises it.
func (r *release) synchronous(t *testing.T, ctx context.Context, mode, number string) {
	t.Helper()
	always := r.leadsSomewhere(t, ctx)
	r.install(t, ctx, map[string]string{"synchronous.mode": mode, "synchronous.number": number})
	r.nudge(t, ctx)
	primary := r.primary(t, ctx)
	err := cluster.Wait(ctx, "the server waits for its replicas", func(ctx context.Context) (bool, string, error) {
		got, err := site.SQL(ctx, r.namespace, primary, "select current_setting('synchronous_standby_names'), (select count(*) from pg_stat_replication where sync_state = 'quorum')")
		return err == nil && strings.HasPrefix(got, "ANY "+number) && strings.HasSuffix(got, "|2"), got, err
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
	always()
	r.written(t, ctx)
}

// leadsSomewhere watches the Service for writing until it is called: the server goes on, so nobody may be refused.
func (r *release) leadsSomewhere(t *testing.T, ctx context.Context) func() {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	looks, empty := 0, 0
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			s, err := site.Client.DiscoveryV1().EndpointSlices(r.namespace).Get(ctx, r.fullname+"-rw-ipv4", metav1.GetOptions{})
			if err == nil {
				if looks++; len(s.Endpoints) == 0 {
					empty++
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	return func() {
		t.Helper()
		stop()
		done.Wait()
		if looks == 0 || empty > 0 {
			t.Errorf("the Service for writing led nowhere in %d of %d looks", empty, looks)
		}
	}
}

func anyOne(t *testing.T, ctx context.Context) {
	ha.synchronous(t, ctx, "any", "1")
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 18*time.Second, func(primary string) {
		fault(t, "kill", "node", ha.node(t, ctx, primary))
		ha.another(t, ctx, before)
	})
	heal(t)
	ha.whole(t, ctx)
}

func strict(t *testing.T, ctx context.Context) {
	ha.synchronous(t, ctx, "strict", "2")
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 40*time.Second, func(string) {
		fault(t, "freeze", "node", ha.node(t, ctx, ha.replica(t, ctx)))
		time.Sleep(13 * time.Second) // longer than mode any would wait
		app := ha.app(t, ctx, "rw")
		c, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if _, err := one[string](c, app, "select pg_logical_emit_message(true, 'e2e', '')::text"); err == nil {
			t.Error("a commit was acknowledged with one of two replicas")
		}
		heal(t)
	})
	ha.whole(t, ctx)
	ha.sameEpoch(t, ctx, before)
}
