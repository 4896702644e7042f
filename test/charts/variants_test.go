package charts

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestMemoryLimitReachesTheServer(t *testing.T) {
	limit := func(values string) (found *corev1.ResourceFieldSelector) {
		p := databasePods(objects(t, release{values: values}.mustRender(t)))[0]
		for _, e := range container(t, p, "seed").Env {
			if e.Name == "PGSPAN_MEMORY_LIMIT" {
				found = e.ValueFrom.ResourceFieldRef
			}
		}
		return found
	}
	if got := limit(""); got != nil {
		t.Errorf("without a limit the node's whole memory would be taken for one: %+v", got)
	}
	got := limit("database: {resources: {limits: {memory: 4Gi}}}")
	if got == nil || got.ContainerName != "postgres" || got.Resource != "limits.memory" || !got.Divisor.Equal(resource.MustParse("1")) {
		t.Errorf("PGSPAN_MEMORY_LIMIT from %+v", got)
	}
}

func TestUids(t *testing.T) {
	cases := map[string]struct {
		values string
		want   *int64
	}{
		"default":                     {"", ptr(int64(999))},
		"random_uid":                  {"database: {podSecurityContext: {runAsUser: 1000660000, runAsGroup: 1000660000, fsGroup: 1000660000}}", ptr(int64(1000660000))},
		"openshift_chooses_by_itself": {"database: {podSecurityContext: null}", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, p := range databasePods(objects(t, release{values: c.values}.mustRender(t))) {
				switch sc := p.spec.SecurityContext; {
				case c.want == nil && sc != nil:
					t.Errorf("%s asks for %+v", p.owner, sc)
				case c.want != nil && (*sc.RunAsUser != *c.want || *sc.RunAsGroup != *c.want || *sc.FSGroup != *c.want):
					t.Errorf("%s asks for %d %d %d, want %d", p.owner, *sc.RunAsUser, *sc.RunAsGroup, *sc.FSGroup, *c.want)
				}
			}
		})
	}
}

func TestASetMayDifferFromTheOther(t *testing.T) {
	all := objects(t, release{values: `
database: {nodeSelector: {disk: fast}, tolerations: [{key: db, operator: Exists}]}
persistence: {storageClass: fast}
replica: {nodeSelector: {disk: slow}, tolerations: [], storageClass: slow, podLabels: {tier: two}}`}.mustRender(t))
	for name, want := range map[string]string{"demo-primary": "fast", "demo-replica": "slow"} {
		set := named[*appsv1.StatefulSet](t, all, name)
		if got := set.Spec.Template.Spec.NodeSelector["disk"]; got != want {
			t.Errorf("%s runs on %q, want %q", name, got, want)
		}
		if got := *set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName; got != want {
			t.Errorf("%s stores on %q, want %q", name, got, want)
		}
	}
	if got := named[*appsv1.StatefulSet](t, all, "demo-replica").Spec.Template.Spec.Tolerations; len(got) != 0 {
		t.Errorf("an empty list of tolerations does not replace the common one: %v", got)
	}
}

func ptr[T any](v T) *T { return &v }
