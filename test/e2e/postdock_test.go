package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPostDock is for those who come from there with their variables.
func TestPostDock(t *testing.T) {
	run(t, "install", 6*time.Minute, func(t *testing.T, ctx context.Context) { standing(t, ctx) })
	if t.Failed() {
		return
	}
	run(t, "postdock_environment_boots_a_replica", 2*time.Minute, postDockReplica)
	run(t, "postdock_configs_reach_the_charts_servers", time.Minute, func(t *testing.T, ctx context.Context) {
		for _, suffix := range []string{"primary-0", "replica-0"} {
			if got := pg18.sql(t, ctx, pg18.pod(suffix), "show work_mem"); got != "7MB" {
				t.Errorf("%s: work_mem is %s, want 7MB from CONFIGS", suffix, got)
			}
		}
	})
}

// postDockReplica runs a pod with neither keeper nor the chart's settings: all it knows are the variables that PostDock's image would have,
// and it follows the standing release's primary.
func postDockReplica(t *testing.T, ctx context.Context) {
	const name = "node-7"
	alone := &release{namespace: namespace, name: name, fullname: name}
	pods := site.Client.CoreV1().Pods(namespace)
	p, err := pods.Get(ctx, db.primary(t, ctx), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The volumes and programs of a pod of the chart, without keeper, its token, the settings and the persistent volume.
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pgspan.io/cluster": name}}, Spec: p.Spec}
	spec := &pod.Spec
	spec.NodeName, spec.Hostname, spec.Subdomain = "", "", ""
	spec.InitContainers = slices.DeleteFunc(spec.InitContainers, func(c corev1.Container) bool { return c.Name == "keeper" })
	for i := range spec.Volumes {
		if v := &spec.Volumes[i]; v.Name == "data" || v.Name == "settings" || v.Name == "api" {
			v.VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}
	}
	variables := []corev1.EnvVar{
		field("PGSPAN_POD_NAME", "metadata.name"), field("PGSPAN_POD_UID", "metadata.uid"), field("PGSPAN_POD_IP", "status.podIP"),
		{Name: "PGSPAN_STANDALONE", Value: "true"},
		{Name: "CLUSTER_NAME", Value: "pg_cluster"}, {Name: "NODE_NAME", Value: name}, {Name: "CLUSTER_NODE_NETWORK_NAME", Value: name},
		{Name: "PARTNER_NODES", Value: "node-6,node-7"}, {Name: "NODE_PRIORITY", Value: "90"}, {Name: "USE_REPLICATION_SLOTS", Value: "1"},
		{Name: "REPLICATION_PRIMARY_HOST", Value: db.fullname + "-rw." + namespace + ".svc"},
		{Name: "REPLICATION_USER", Value: "replication_user"}, {Name: "REPLICATION_PASSWORD", Value: "replication_pass"},
		{Name: "CONFIGS", Value: "work_mem:9MB;search_path:'a,b';listen_addresses:'*'"}, {Name: "CONFIGS_DELIMITER_SYMBOL", Value: ";"},
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			c := &containers[i]
			if c.Name == "agents" {
				continue
			}
			c.Env = variables
			for m := range c.VolumeMounts {
				if c.VolumeMounts[m].Name == "settings" {
					c.VolumeMounts[m].ReadOnly = false
				}
			}
		}
	}
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		zero := int64(0)
		if err := pods.Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Error(err)
		}
	}()
	primary := db.primary(t, ctx)
	db.sql(t, ctx, primary, "create table if not exists postdock (v int); truncate postdock; insert into postdock values (23)")
	// Qualified, because CONFIGS has set another search_path.
	alone.eventually(t, ctx, name, "select v from public.postdock", "23")
	alone.eventually(t, ctx, name, "select status from pg_stat_wal_receiver", "streaming")
	db.eventually(t, ctx, primary, "select count(*) from pg_stat_replication s join pg_stat_ssl using (pid) where ssl and state = 'streaming' and application_name = 'node_1007'", "1")
	for query, want := range map[string]string{"show work_mem": "9MB", "show search_path": "a,b", "select pg_is_in_recovery()": "t"} {
		if got := alone.sql(t, ctx, name, query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	for _, sentence := range []string{"PARTNER_NODES has no effect", "REPLICATION_PASSWORD has no effect", "running without keeper"} {
		alone.says(t, ctx, name, "seed", sentence)
	}
	// Its primary does not count it among the release's members.
	db.leadsOnlyTo(t, ctx, "r", []string{db.pod("primary-0"), db.pod("replica-0"), db.pod("replica-1")})
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}
