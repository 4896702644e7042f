package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gruntwork-io/terratest/modules/helm"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/previous"
)

const repository = "../.."

// up is a release that was installed with an older chart. Its pooler too runs as a uid that no image knows.
var up = newRelease(namespace, "up", map[string]string{
	"replicas": "1", "pgpool.enabled": "true", "pgpool.replicas": "1", "persistence.size": "300Mi",
	"pgpool.podSecurityContext.runAsUser": "1000660000", "pgpool.podSecurityContext.runAsGroup": "1000660000", "pgpool.podSecurityContext.fsGroup": "1000660000",
}).asRandomUID()

// TestUpgrade takes one release from the chart of before to this one, lets its volumes grow, and goes back.
func TestUpgrade(t *testing.T) {
	var old map[string]string // values that make the old chart run the old images, if there are any
	run(t, "install_the_chart_of_before", 3*time.Minute, func(t *testing.T, ctx context.Context) { old = installPrevious(t, ctx) })
	if t.Failed() {
		up.evidence(t)
		return
	}
	var before identity
	steps := []struct {
		name string
		body func(t *testing.T, ctx context.Context)
	}{
		{"upgraded_release_has_its_data_and_passwords", func(t *testing.T, ctx context.Context) {
			up.eventually(t, ctx, up.pod("primary-0"), "select count(*) from pg_roles where rolname = 'app'", "1")
			up.write(t, ctx, "before")
			before = up.identity(t, ctx)
			up.install(t, ctx, nil)
			up.replaced(t, ctx)
			up.same(t, ctx, before, "before")
			up.write(t, ctx, "upgraded")
		}},
		{"volumes_grow_under_the_running_servers", growth},
		{"rolled_back_release_has_its_data_and_passwords", func(t *testing.T, ctx context.Context) {
			helm.RollbackContext(t, ctx, up.options(old), up.name, "1")
			up.replaced(t, ctx)
			up.same(t, ctx, before, "before,upgraded")
			up.write(t, ctx, "rolledBack")
			up.grown(t, ctx, "data-"+up.pod("primary-0"), "data-"+up.pod("replica-0"))
		}},
	}
	for _, s := range steps {
		if !t.Failed() {
			run(t, s.name, 4*time.Minute, s.body)
		}
	}
	up.remove(t)
}

// installPrevious installs the chart that an upgrade starts from and returns the values that name its images.
func installPrevious(t *testing.T, ctx context.Context) map[string]string {
	t.Helper()
	from, err := previous.Find(ctx, repository)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := from.Extract(ctx, repository, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	images := "the images of now"
	set := map[string]string{}
	if tag := strings.TrimPrefix(from.Rev, "v"); from.Tag && pushed(ctx, tag) {
		images = "its own images"
		set = map[string]string{"agents.image.tag": tag, "pgpool.image.tag": tag, "database.image.tag": "17-" + tag}
	}
	t.Logf("the upgrade starts from %s, with %s", from.Why, images)
	cases.remark("upgrade from: %s, with %s", from.Why, images)
	up.installChart(t, ctx, dir, set)
	up.ready(t, ctx, 3)
	return set
}

// pushed tells whether the registry has all of a tag's images. A registry that does not answer has none.
func pushed(ctx context.Context, tag string) bool {
	registry := os.Getenv("PGSPAN_REGISTRY")
	if registry == "" {
		return false
	}
	for _, image := range []string{"agents/manifests/" + tag, "pgpool/manifests/" + tag, "postgres/manifests/17-" + tag} {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+registry+"/v2/pgspan/"+image, nil)
		if err != nil {
			return false
		}
		req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false
		}
	}
	return true
}

// replaced deletes the database pods, so that the sets' new templates count (OnDelete), and waits for all of the release. pgpool's
// Deployment rolls by itself.
func (r *release) replaced(t *testing.T, ctx context.Context) {
	t.Helper()
	r.deletePods(t, ctx, r.databaseSelector())
	err := cluster.Wait(ctx, "every pod of "+r.fullname+" is of the newest revision", func(ctx context.Context) (bool, string, error) {
		sets, err := site.Client.AppsV1().StatefulSets(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: r.selector()})
		if err != nil {
			return false, "", err
		}
		for _, s := range sets.Items {
			if s.Status.ObservedGeneration != s.Generation || s.Status.UpdatedReplicas != *s.Spec.Replicas {
				return false, s.Name + " has old pods", nil
			}
		}
		deployments, err := site.Client.AppsV1().Deployments(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: r.selector()})
		if err != nil {
			return false, "", err
		}
		for _, d := range deployments.Items {
			if s := d.Status; s.ObservedGeneration != d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.Replicas != s.UpdatedReplicas {
				return false, d.Name + " has old pods", nil
			}
		}
		return true, "", nil
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
	r.ready(t, ctx, 3)
}

// identity is what must never change: who the database is, what its Secrets say, whose volumes they are.
type identity struct {
	systemID, password, ca string
	kept                   map[string]string
}

func (r *release) identity(t *testing.T, ctx context.Context) identity {
	t.Helper()
	secret, err := site.Secret(ctx, r.namespace, r.fullname+"-app-app")
	if err != nil {
		t.Fatal(err)
	}
	id := identity{password: secret["password"], ca: secret["ca.crt"], kept: map[string]string{}}
	if id.password == "" || id.ca == "" {
		t.Fatalf("the Secret for the application has no password or no CA")
	}
	id.systemID = r.sql(t, ctx, r.pod("primary-0"), "select system_identifier from pg_control_system()")
	for name, uid := range r.kept(t, ctx) {
		id.kept[name] = string(uid)
	}
	return id
}

// write adds a row as the application does, through the Service for writing, and reads it back through pgpool.
func (r *release) write(t *testing.T, ctx context.Context, word string) {
	t.Helper()
	app := r.app(t, ctx, "rw")
	err := cluster.Wait(ctx, "the application writes", func(ctx context.Context) (bool, string, error) {
		conn, err := app.Connect(ctx)
		if err != nil {
			return false, "", err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "create table if not exists upgraded (n serial, word text unique)")
		if err == nil {
			_, err = conn.Exec(ctx, "insert into upgraded (word) values ($1) on conflict do nothing", word)
		}
		return err == nil, "", err
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}

// same fails if the release is another one than before, or its rows are not these.
func (r *release) same(t *testing.T, ctx context.Context, before identity, words string) {
	t.Helper()
	now := r.identity(t, ctx)
	if now.systemID != before.systemID {
		t.Errorf("the system identifier was %s and is %s", before.systemID, now.systemID)
	}
	if now.password != before.password {
		t.Error("the application's password changed")
	}
	if now.ca != before.ca {
		t.Error("the CA changed")
	}
	if !maps.Equal(now.kept, before.kept) {
		t.Errorf("volumes, Lease and Secrets are %v, before %v", now.kept, before.kept)
	}
	const query = "select string_agg(word, ',' order by n) from upgraded"
	app := r.app(t, ctx, "rw")
	err := cluster.Wait(ctx, "the application reads "+words, func(ctx context.Context) (bool, string, error) {
		got, err := one[string](ctx, app, query)
		return got == words, got, err
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
	for _, member := range []string{"primary-0", "replica-0"} {
		out, err := site.Exec(ctx, r.namespace, r.pod(member), "postgres", "psql", "-h", "/pgspan/socket", "-U", "postgres", "-d", "app", "-XAtqc", query)
		if err != nil || strings.TrimSpace(out) != words {
			t.Errorf("%s has %q, %v; want %q", member, out, err, words)
		}
	}
	r.eventually(t, ctx, r.primary(t, ctx), "select count(*) from pg_stat_replication where state = 'streaming'", "1")
}

// growth raises persistence.size in an ordinary upgrade: the claims and file systems follow, also of a replica that is added later from the
// set's unchanged template, and no pod is replaced.
func growth(t *testing.T, ctx context.Context) {
	uids := func() map[string]string {
		pods, err := site.Pods(ctx, up.namespace, up.databaseSelector())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, p := range pods {
			out[p.Name] = string(p.UID)
		}
		return out
	}
	before := uids()
	larger := map[string]string{"persistence.size": "480Mi"}
	up.install(t, ctx, larger)
	go up.touchFor(ctx, 30*time.Second) // kubelet brings a changed ConfigMap within a minute, and sooner when the pod changes
	claims := []string{"data-" + up.pod("primary-0"), "data-" + up.pod("replica-0")}
	up.grown(t, ctx, claims...)
	if after := uids(); !maps.Equal(after, before) {
		t.Errorf("the pods are %v, before %v", after, before)
	}
	larger["replicas"] = "2"
	up.install(t, ctx, larger)
	up.ready(t, ctx, 4)
	up.grown(t, ctx, append(claims, "data-"+up.pod("replica-1"))...)
	larger["replicas"] = "1"
	up.install(t, ctx, larger)
	up.ready(t, ctx, 3)
	list, err := site.Client.CoreV1().Events(up.namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=VolumeGrows"})
	if err != nil || len(list.Items) < 3 {
		t.Errorf("%d events say that a volume grows, %v; want 3", len(list.Items), err)
	}
	// The claim of the replica that was taken away stays, as always; here it would only be in the way of comparing.
	forget(t, ctx, "data-"+up.pod("replica-1"))
}

// grown waits until claims have the larger size, by the API and by what the server's file system says, which takes some for itself.
func (r *release) grown(t *testing.T, ctx context.Context, claims ...string) {
	t.Helper()
	const least = 450 << 20
	for _, name := range claims {
		pod := strings.TrimPrefix(name, "data-")
		err := cluster.Wait(ctx, fmt.Sprintf("%s has %d bytes", name, least), func(ctx context.Context) (bool, string, error) {
			c, err := site.Client.CoreV1().PersistentVolumeClaims(r.namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, "", err
			}
			capacity := c.Status.Capacity[corev1.ResourceStorage]
			if capacity.Value() < least {
				return false, "the claim has " + capacity.String(), nil
			}
			out, err := site.Exec(ctx, r.namespace, pod, "postgres", "df", "--output=size", "-B1", "/var/lib/pgspan")
			fields := strings.Fields(out)
			if err != nil || len(fields) == 0 {
				return false, out, err
			}
			size, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
			return err == nil && size >= least, out, err
		})
		if err != nil {
			r.evidence(t)
			t.Fatal(err)
		}
	}
}
