package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// scaled takes replicas away and gives them back: the volumes stay, so what comes back goes on where it was.
func scaled(t *testing.T, ctx context.Context) {
	pg18.sql(t, ctx, pg18.primary(t, ctx), "create table if not exists scaled (v int); truncate scaled; insert into scaled values (0)")
	const rows = "select string_agg(v::text, ' ' order by v) from scaled"
	to := func(replicas int) {
		t.Helper()
		pg18.install(t, ctx, map[string]string{"replicas": fmt.Sprint(replicas)})
		pg18.ready(t, ctx, replicas+1)
		primary := pg18.primary(t, ctx)
		pg18.sql(t, ctx, primary, fmt.Sprintf("insert into scaled values (%d)", replicas))
		want := pg18.sql(t, ctx, primary, rows)
		all := []string{pg18.pod("primary-0")}
		for i := range replicas {
			all = append(all, pg18.pod(fmt.Sprintf("replica-%d", i)))
		}
		for _, pod := range all {
			pg18.eventually(t, ctx, pod, rows, want)
		}
		reads := slices.DeleteFunc(slices.Clone(all), func(m string) bool { return m == primary })
		if replicas == 0 {
			reads = all // the only server answers them
		}
		pg18.leadsOnlyTo(t, ctx, "r", all)
		pg18.leadsOnlyTo(t, ctx, "ro", reads)
		pg18.leadsOnlyTo(t, ctx, "rw", []string{primary})
		pg18.eventually(t, ctx, primary, "select count(*) from pg_stat_replication where state = 'streaming'", fmt.Sprint(replicas))
	}
	to(0)
	to(3)
	pg18.says(t, ctx, pg18.pod("replica-0"), "seed", `"do":"keep"`)
	to(1)
	claims, err := site.Client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{LabelSelector: pg18.selector()})
	if err != nil {
		t.Fatal(err)
	}
	if len(claims.Items) != 4 {
		t.Errorf("%d volume claims, want all 4: scaling deletes no data", len(claims.Items))
	}
	to(3)
	for _, m := range []string{"replica-1", "replica-2"} {
		pg18.says(t, ctx, pg18.pod(m), "seed", `"do":"keep"`)
	}
	to(1)
}

// leadsOnlyTo waits until a Service leads to these pods and no other.
func (r *release) leadsOnlyTo(t *testing.T, ctx context.Context, service string, want []string) {
	t.Helper()
	err := cluster.Wait(ctx, fmt.Sprintf("%s-%s leads to %v", r.fullname, service, want), func(ctx context.Context) (bool, string, error) {
		got, err := site.LeadsTo(ctx, r.namespace, r.fullname+"-"+service)
		return slices.Equal(got, want), fmt.Sprint(got), err
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}

// wrongMode gives both data directories modes that PostgreSQL refuses, as a mount with fsGroup and a careless restore do, while no server runs.
func wrongMode(t *testing.T, ctx context.Context) {
	pg15.sql(t, ctx, pg15.primary(t, ctx), "create table if not exists modes (v int); truncate modes; insert into modes values (80)")
	for _, member := range []string{"primary-0", "replica-0"} {
		pg15.eventually(t, ctx, pg15.pod(member), "select v from modes", "80")
	}
	image := pg15.serverPod(t, ctx)
	pg15.scale(t, ctx, "primary", 0)
	pg15.scale(t, ctx, "replica", 0)
	pg15.ready(t, ctx, 0)
	for member, mode := range map[string]string{"primary-0": "0777", "replica-0": "2770"} {
		pg15.onVolume(t, ctx, image, member, "chmod", mode, "/var/lib/pgspan/pgdata")
	}
	pg15.scale(t, ctx, "primary", 1)
	pg15.scale(t, ctx, "replica", 1)
	pg15.ready(t, ctx, 2)
	for _, member := range []string{"primary-0", "replica-0"} {
		pod := pg15.pod(member)
		out, err := site.Exec(ctx, namespace, pod, "postgres", "stat", "-c", "%a", "/var/lib/pgspan/pgdata")
		if err != nil || strings.TrimSpace(out) != "700" {
			t.Errorf("%s: the data directory has mode %q, %v; want 700", member, out, err)
		}
		pg15.eventually(t, ctx, pod, "select v from modes", "80")
	}
	pg15.eventually(t, ctx, pg15.primary(t, ctx), "select count(*) from pg_stat_replication where state = 'streaming'", "1")
}

// wrongOwner starts the replica as another user than the one who owns its data: the mode cannot be made right then, and nothing is touched.
func wrongOwner(t *testing.T, ctx context.Context) {
	other := map[string]string{"database.podSecurityContext.runAsUser": "998"}
	primary := pg15.primary(t, ctx)
	pod := pg15.pod("replica-0")
	if primary == pod {
		pod = pg15.pod("primary-0")
	}
	pg15.install(t, ctx, other)
	pg15.deletePods(t, ctx, "statefulset.kubernetes.io/pod-name="+pod)
	sentence := "belongs to user 999 and the server runs as user 998"
	pg15.says(t, ctx, pod, "seed", sentence)
	pg15.says(t, ctx, pod, "seed", "run the pods as user 999")
	err := cluster.Wait(ctx, "the state says refused", func(ctx context.Context) (bool, string, error) {
		state, err := site.Exec(ctx, namespace, pod, "seed", "cat", "/pgspan/control/state")
		return strings.Contains(state, `"phase": "refused"`) && strings.Contains(state, sentence), state, err
	})
	if err != nil {
		t.Error(err)
	}
	if got := pg15.sql(t, ctx, primary, "select v from modes"); got != "80" {
		t.Errorf("the primary answers %q", got)
	}
	pg15.install(t, ctx, nil)
	// keeper cannot read the lock either, so that it cannot prove the volume to be free and would wait for the whole grace period.
	grace := int64(3)
	pg15.deletePodsWithin(t, ctx, "statefulset.kubernetes.io/pod-name="+pod, &grace)
	pg15.ready(t, ctx, 2)
	pg15.eventually(t, ctx, pod, "select v from modes", "80")
}

// serverPod is the primary's pod as it runs, for a pod that sees what it sees.
func (r *release) serverPod(t *testing.T, ctx context.Context) *corev1.Pod {
	t.Helper()
	p, err := site.Client.CoreV1().Pods(r.namespace).Get(ctx, r.primary(t, ctx), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// onVolume runs a command on a member's volume while the member is down, as the same user and with the same image.
func (r *release) onVolume(t *testing.T, ctx context.Context, like *corev1.Pod, member string, command ...string) {
	t.Helper()
	name := r.pod(member) + "-hand"
	server := like.Spec.Containers[slices.IndexFunc(like.Spec.Containers, func(c corev1.Container) bool { return c.Name == "postgres" })]
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"test": "hand"}},
		Spec: corev1.PodSpec{
			SecurityContext: like.Spec.SecurityContext, RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "hand", Image: server.Image, Command: command, SecurityContext: server.SecurityContext,
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/var/lib/pgspan"}},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-" + r.pod(member)},
			}}},
		},
	}
	pods := site.Client.CoreV1().Pods(r.namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err := cluster.Wait(ctx, name+" has ended", func(ctx context.Context) (bool, string, error) {
		p, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		return p.Status.Phase == corev1.PodSucceeded, string(p.Status.Phase), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}
