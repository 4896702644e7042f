package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gruntwork-io/terratest/modules/helm"
	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/logger"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

const chart = "../../charts/pgspan"

// release is one installed release of the chart.
type release struct {
	namespace, name, fullname string
	set                       map[string]string
	files                     []string // more values files
}

func newRelease(namespace, name string, set map[string]string) *release {
	return &release{namespace: namespace, name: name, fullname: name, set: set}
}

// asRandomUID takes the values of the example, so that the example itself is tried.
func (r *release) asRandomUID() *release {
	r.files = append(r.files, chart+"/examples/random-uid/values.yaml")
	return r
}

// options for terratest's helm. Values that make pods small enough for several releases on one machine come from values.yaml beside.
func (r *release) options(extra map[string]string) *helm.Options {
	set := map[string]string{}
	if tag := os.Getenv("PGSPAN_TAG"); tag != "" {
		major := r.set["postgresql.version"]
		if major == "" {
			major = "17"
		}
		set["agents.image.tag"], set["pgpool.image.tag"], set["database.image.tag"] = tag, tag, major+"-"+tag
		if r.set["database.image.repository"] != "" {
			set["database.image.tag"] = tag // our own images alone carry the major in their tag
		}
	}
	for _, m := range []map[string]string{r.set, extra} {
		for k, v := range m {
			set[k] = v
		}
	}
	// A commit's short name may consist of digits, or look like 12e34567: Helm would take it for a number.
	text := map[string]string{}
	for k, v := range set {
		if strings.HasSuffix(k, ".tag") {
			text[k] = v
			delete(set, k)
		}
	}
	return &helm.Options{
		KubectlOptions: k8s.NewKubectlOptions(site.Name, site.Kubeconfig, r.namespace),
		SetValues:      set,
		SetStrValues:   text,
		ValuesFiles:    append([]string{"values.yaml"}, r.files...),
		Logger:         logger.Discard,
	}
}

// install installs or upgrades the release; it does not wait.
func (r *release) install(t *testing.T, ctx context.Context, extra map[string]string) {
	t.Helper()
	r.installChart(t, ctx, chart, extra)
}

// installChart is install with another chart than the working tree's.
func (r *release) installChart(t *testing.T, ctx context.Context, chart string, extra map[string]string) {
	t.Helper()
	if err := site.Namespace(ctx, r.namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		t.Fatal(err)
	}
	helm.UpgradeContext(t, ctx, r.withInstall(extra), chart, r.name)
}

func (r *release) withInstall(extra map[string]string) *helm.Options {
	o := r.options(extra)
	o.ExtraArgs = map[string][]string{"upgrade": {"--install"}}
	return o
}

// uninstall removes the release; volumes, Lease and Secrets stay, as users find them.
func (r *release) uninstall(t *testing.T, ctx context.Context) {
	t.Helper()
	helm.DeleteContext(t, ctx, r.options(nil), r.name, true)
}

func (r *release) selector() string { return "pgspan.io/cluster=" + r.fullname }

func (r *release) databaseSelector() string {
	return r.selector() + ",app.kubernetes.io/component=database"
}

func (r *release) pod(suffix string) string { return r.fullname + "-" + suffix }

// ready waits until n pods of the release exist and all are ready.
func (r *release) ready(t *testing.T, ctx context.Context, n int) {
	t.Helper()
	err := cluster.Wait(ctx, fmt.Sprintf("%d pods of %s are ready", n, r.fullname), func(ctx context.Context) (bool, string, error) {
		pods, err := site.Pods(ctx, r.namespace, r.selector())
		if err != nil {
			return false, "", err
		}
		// A Job's pod that is done, or was given up, is none of those that stand.
		pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool {
			return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		})
		ok, seen := 0, []string{}
		for _, p := range pods {
			if p.DeletionTimestamp == nil && cluster.Ready(p) {
				ok++
			} else {
				seen = append(seen, p.Name)
			}
		}
		return ok == n && len(pods) == n, fmt.Sprintf("%d of %d, waiting for %s", ok, len(pods), strings.Join(seen, " ")), nil
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}

// evidence writes what a failed case needs to be understood: every pod's containers, their last lines and the Events.
func (r *release) evidence(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	pods, err := site.Pods(ctx, r.namespace, r.selector())
	if err != nil {
		t.Log(err)
		return
	}
	lines := int64(12)
	for _, p := range pods {
		t.Logf("pod %s on %s: %s", p.Name, p.Spec.NodeName, p.Status.Phase)
		for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
			log, err := site.Client.CoreV1().Pods(r.namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: c.Name, TailLines: &lines}).DoRaw(ctx)
			if err == nil && len(log) > 0 {
				t.Logf("--- %s %s\n%s", p.Name, c.Name, log)
			}
		}
	}
	events, err := site.Client.CoreV1().Events(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Log(err)
		return
	}
	for _, e := range events.Items {
		if e.Type == corev1.EventTypeWarning && strings.HasPrefix(e.InvolvedObject.Name, r.fullname) {
			t.Logf("event %s %s: %s", e.InvolvedObject.Name, e.Reason, e.Message)
		}
	}
}

// primary is the pod that is labelled as the primary. For a moment of a hand-over there is none.
func (r *release) primary(t *testing.T, ctx context.Context) string {
	t.Helper()
	var name string
	err := cluster.Wait(ctx, "one pod of "+r.fullname+" is labelled as the primary", func(ctx context.Context) (bool, string, error) {
		pods, err := site.Pods(ctx, r.namespace, r.databaseSelector()+",pgspan.io/role=primary")
		if err != nil {
			return false, "", err
		}
		names := []string{}
		for _, p := range pods {
			if p.DeletionTimestamp == nil {
				names = append(names, p.Name)
			}
		}
		name = strings.Join(names, " ")
		return len(names) == 1, name, nil
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
	return name
}

// sql asks a member's server as the superuser.
func (r *release) sql(t *testing.T, ctx context.Context, pod, query string) string {
	t.Helper()
	out, err := site.SQL(ctx, r.namespace, pod, query)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually waits until a member's answer is what is wanted.
func (r *release) eventually(t *testing.T, ctx context.Context, pod, query, want string) {
	t.Helper()
	err := cluster.Wait(ctx, fmt.Sprintf("%s answers %q to %q", pod, want, query), func(ctx context.Context) (bool, string, error) {
		got, err := site.SQL(ctx, r.namespace, pod, query)
		return got == want, got, err
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}

// deletePods deletes the pods that a selector names, waits until they are gone, and returns how many there were.
func (r *release) deletePods(t *testing.T, ctx context.Context, selector string) int {
	t.Helper()
	return r.deletePodsWithin(t, ctx, selector, nil)
}

// deletePodsWithin is deletePods with another grace period than the pods' own.
func (r *release) deletePodsWithin(t *testing.T, ctx context.Context, selector string, grace *int64) int {
	t.Helper()
	old, err := site.Pods(ctx, r.namespace, selector)
	if err != nil {
		t.Fatal(err)
	}
	err = site.Client.CoreV1().Pods(r.namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: grace}, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range old {
		err := cluster.Wait(ctx, p.Name+" is gone", func(ctx context.Context) (bool, string, error) {
			now, err := site.Client.CoreV1().Pods(r.namespace).Get(ctx, p.Name, metav1.GetOptions{})
			if errors.IsNotFound(err) {
				return true, "", nil
			}
			return err == nil && now.UID != p.UID, "still there", err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return len(old)
}

// logs returns a container's log.
func (r *release) logs(ctx context.Context, pod, container string) (string, error) {
	b, err := site.Client.CoreV1().Pods(r.namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
	return string(b), err
}

// says waits until a container's log has a text.
func (r *release) says(t *testing.T, ctx context.Context, pod, container, text string) {
	t.Helper()
	err := cluster.Wait(ctx, fmt.Sprintf("%s/%s says %q", pod, container, text), func(ctx context.Context) (bool, string, error) {
		log, err := r.logs(ctx, pod, container)
		tail := log
		if len(tail) > 600 {
			tail = tail[len(tail)-600:]
		}
		return strings.Contains(log, text), tail, err
	})
	if err != nil {
		r.evidence(t)
		t.Fatal(err)
	}
}
