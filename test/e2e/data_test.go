package e2e

import (
	"context"
	"maps"
	"regexp"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgspan/pgspan/test/cluster"
)

// TestData is about volumes that are not what a careless start takes them for: locked, half cloned, without a record, empty.
func TestData(t *testing.T) {
	run(t, "install", 6*time.Minute, func(t *testing.T, ctx context.Context) { standing(t, ctx) })
	if t.Failed() {
		return
	}
	run(t, "second_pod_on_one_volume_never_starts_a_server", 2*time.Minute, secondPod)
	run(t, "interrupted_clone_recovers", 4*time.Minute, interruptedClone)
	run(t, "scaled_to_none_three_one_and_back_keeps_data", 4*time.Minute, scaled)
	run(t, "wrong_mode_of_the_data_directory_is_repaired", 3*time.Minute, wrongMode)
	run(t, "data_of_another_user_is_refused_with_a_sentence", 3*time.Minute, wrongOwner)
	run(t, "data_without_a_lease_asks_who_leads", 4*time.Minute, dataWithoutLease)
	run(t, "reinstalled_release_has_its_data_and_passwords", 4*time.Minute, reinstalled)
	run(t, "lease_with_all_volumes_empty_says_what_to_do", 3*time.Minute, leaseWithoutData)
	small.remove(t)
}

// small is a single member, for what needs a release to be taken away.
var small = newRelease(namespace, "small", map[string]string{"replicas": "0", "persistence.size": "300Mi"})

// secondPod starts a copy of the primary's pod, under another name, on the same volume and node.
func secondPod(t *testing.T, ctx context.Context) {
	primary := pg15.primary(t, ctx)
	pods := site.Client.CoreV1().Pods(namespace)
	p, err := pods.Get(ctx, primary, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	intruder := &corev1.Pod{
		// Not the release's labels: no Service and no set may take it for one of theirs.
		ObjectMeta: metav1.ObjectMeta{Name: "intruder", Labels: map[string]string{"test": "intruder"}},
		Spec:       p.Spec,
	}
	intruder.Spec.Hostname, intruder.Spec.Subdomain = "", ""
	if _, err := pods.Create(ctx, intruder, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		zero := int64(0)
		if err := pods.Delete(context.WithoutCancel(ctx), "intruder", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Error(err)
		}
	}()
	other := &release{namespace: namespace, fullname: "intruder"}
	other.says(t, ctx, "intruder", "seed", primary)
	for range 5 { // it must go on waiting, and the server must not notice
		if got := pg15.sql(t, ctx, primary, "select pg_is_in_recovery()"); got != "f" {
			t.Fatalf("the primary answers %q", got)
		}
		now, err := pods.Get(ctx, "intruder", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range now.Status.ContainerStatuses {
			if c.Name == "postgres" && c.State.Running != nil {
				t.Fatal("the second pod's server container runs")
			}
		}
		time.Sleep(time.Second) // an interval of observation, not a wait for something
	}
}

// interruptedClone adds a replica whose base backup is slow, kills the pod in the middle, and lets the next life finish.
func interruptedClone(t *testing.T, ctx context.Context) {
	primary := pg18.primary(t, ctx)
	pg18.sql(t, ctx, primary, "create table if not exists ballast as select i, repeat(md5(i::text), 20) from generate_series(1, 60000) i")
	forget(t, ctx, "data-"+pg18.pod("replica-1")) // of an earlier run
	pg18.install(t, ctx, map[string]string{"replicas": "2", "replication.cloneMaxRate": "4Mi"})
	pod := pg18.pod("replica-1")
	pg18.says(t, ctx, pod, "seed", `"step":"copy"`) // progress: it is under way, and far from done at this rate
	zero := int64(0)
	if err := site.Client.CoreV1().Pods(namespace).Delete(ctx, pod, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	pg18.install(t, ctx, map[string]string{"replicas": "2"}) // full speed for the next life
	pg18.deletePods(t, ctx, "statefulset.kubernetes.io/pod-name="+pod)
	pg18.ready(t, ctx, 3)
	want := pg18.sql(t, ctx, primary, "select count(*) from ballast")
	pg18.eventually(t, ctx, pod, "select count(*) from ballast", want)
	pg18.eventually(t, ctx, primary, "select count(*) from pg_stat_replication where state = 'streaming'", "2")
	pg18.eventually(t, ctx, primary, "select count(*) from pg_replication_slots where slot_name like '%clone%'", "0")

	pg18.install(t, ctx, map[string]string{"replicas": "1"})
	pg18.ready(t, ctx, 2)
	pg18.sql(t, ctx, primary, "drop table ballast")
}

// forget deletes a volume claim that no pod uses, if there is one.
func forget(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	claims := site.Client.CoreV1().PersistentVolumeClaims(namespace)
	err := cluster.Wait(ctx, name+" is gone", func(ctx context.Context) (bool, string, error) {
		err := claims.Delete(ctx, name, metav1.DeleteOptions{})
		return errors.IsNotFound(err), "still there", nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func dataWithoutLease(t *testing.T, ctx context.Context) {
	primary := pg15.primary(t, ctx)
	pg15.sql(t, ctx, primary, "create table if not exists orphan (v int); truncate orphan; insert into orphan values (7)")
	pg15.eventually(t, ctx, pg15.pod("replica-0"), "select v from orphan", "7")
	pg15.scale(t, ctx, "primary", 0)
	pg15.scale(t, ctx, "replica", 0)
	pg15.ready(t, ctx, 0)
	if err := site.Client.CoordinationV1().Leases(namespace).Delete(ctx, pg15.fullname, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	pg15.scale(t, ctx, "primary", 1)
	pg15.scale(t, ctx, "replica", 1)
	for _, pod := range []string{pg15.pod("primary-0"), pg15.pod("replica-0")} {
		pg15.says(t, ctx, pod, "keeper", "set the value bootstrap.adopt")
		pg15.says(t, ctx, pod, "keeper", pod+"@")
	}
	log, err := pg15.logs(ctx, pg15.pod("primary-0"), "keeper")
	if err != nil {
		t.Fatal(err)
	}
	adopt := regexp.MustCompile(regexp.QuoteMeta(pg15.pod("primary-0")) + `@\d+\.\d+`).FindString(log)
	if adopt == "" {
		t.Fatalf("keeper's log does not say in which words %s is adopted:\n%s", pg15.pod("primary-0"), log)
	}
	pg15.install(t, ctx, map[string]string{"bootstrap.adopt": adopt}) // reaches the pods as they run
	pg15.ready(t, ctx, 2)
	pg15.eventually(t, ctx, pg15.pod("primary-0"), "select pg_is_in_recovery()", "f")
	for _, pod := range []string{pg15.pod("primary-0"), pg15.pod("replica-0")} {
		pg15.eventually(t, ctx, pod, "select v from orphan", "7")
	}
	pg15.install(t, ctx, nil)
}

func reinstalled(t *testing.T, ctx context.Context) {
	small.install(t, ctx, nil)
	small.ready(t, ctx, 1)
	// A server is ready before its users are there.
	small.eventually(t, ctx, small.pod("primary-0"), "select count(*) from pg_roles where rolname = 'app'", "1")
	small.sql(t, ctx, small.pod("primary-0"), "create table kept (v int); insert into kept values (11); grant select on kept to app")
	password, err := site.Secret(ctx, namespace, small.fullname+"-app-app")
	if err != nil {
		t.Fatal(err)
	}
	before := small.kept(t, ctx)
	if len(before) < 5 { // volume, Lease, CA, keys, password
		t.Errorf("the release has only %v", before)
	}
	small.uninstall(t, ctx)
	small.ready(t, ctx, 0)
	if after := small.kept(t, ctx); !maps.Equal(after, before) {
		t.Errorf("uninstall left %v of %v", after, before)
	}
	small.install(t, ctx, nil)
	small.ready(t, ctx, 1)
	if after := small.kept(t, ctx); !maps.Equal(after, before) {
		t.Errorf("after installing again there are %v, before %v", after, before)
	}
	small.eventually(t, ctx, small.pod("primary-0"), "select v from kept", "11")
	again, err := site.Secret(ctx, namespace, small.fullname+"-app-app")
	if err != nil {
		t.Fatal(err)
	}
	if again["password"] != password["password"] || password["password"] == "" {
		t.Error("the user's password changed")
	}
	app := small.app(t, ctx, "rw")
	err = cluster.Wait(ctx, "the application logs in", func(ctx context.Context) (bool, string, error) {
		got, err := one[string](ctx, app, "select current_user::text")
		return got == "app", got, err
	})
	if err != nil {
		t.Error(err)
	}
}

// kept are the objects that an uninstall leaves, with their UIDs: a new one of the same name is not the one that stayed. The Secret for the
// application is made anew from the others.
func (r *release) kept(t *testing.T, ctx context.Context) map[string]types.UID {
	t.Helper()
	list := metav1.ListOptions{LabelSelector: r.selector()}
	claims, err := site.Client.CoreV1().PersistentVolumeClaims(r.namespace).List(ctx, list)
	if err != nil {
		t.Fatal(err)
	}
	leases, err := site.Client.CoordinationV1().Leases(r.namespace).List(ctx, list)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := site.Client.CoreV1().Secrets(r.namespace).List(ctx, list)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]types.UID{}
	for _, o := range claims.Items {
		found["PersistentVolumeClaim "+o.Name] = o.UID
	}
	for _, o := range leases.Items {
		found["Lease "+o.Name] = o.UID
	}
	for _, o := range secrets.Items {
		if o.Type == corev1.SecretTypeOpaque {
			found["Secret "+o.Name] = o.UID
		}
	}
	return found
}

func leaseWithoutData(t *testing.T, ctx context.Context) {
	small.uninstall(t, ctx)
	small.ready(t, ctx, 0)
	err := site.Client.CoreV1().PersistentVolumeClaims(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: small.selector()})
	if err != nil {
		t.Fatal(err)
	}
	small.install(t, ctx, nil)
	small.says(t, ctx, small.pod("primary-0"), "keeper", "every volume of the release is empty")
	small.says(t, ctx, small.pod("primary-0"), "keeper", "delete lease")
}
