package charts

import (
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func switchover(t *testing.T, r release) *batchv1.CronJob {
	t.Helper()
	return cron(t, objects(t, r.mustRender(t)), "-switchover")
}

// cron finds a CronJob by the end of its name.
func cron(t *testing.T, all []runtime.Object, suffix string) *batchv1.CronJob {
	t.Helper()
	crons := of[*batchv1.CronJob](all)
	i := slices.IndexFunc(crons, func(c *batchv1.CronJob) bool { return strings.HasSuffix(c.Name, suffix) })
	if i < 0 {
		t.Fatalf("none of %d CronJobs ends with %s", len(crons), suffix)
	}
	return crons[i]
}

func TestSwitchoverNeverRunsByItself(t *testing.T) {
	for name, r := range map[string]release{"default": {}, "cert_manager": {values: "tls: {mode: certManager}"}} {
		c := switchover(t, r)
		if c.Spec.Suspend == nil || !*c.Spec.Suspend || !strings.HasSuffix(c.Name, "-switchover") {
			t.Errorf("%s: %s suspended: %v", name, c.Name, c.Spec.Suspend)
		}
	}
}

func TestSingleServerHasNobodyToSwitchTo(t *testing.T) {
	r := release{values: "replicas: 0"}
	if crons := of[*batchv1.CronJob](objects(t, r.mustRender(t))); len(crons) != 1 || !strings.HasSuffix(crons[0].Name, "-rollout") {
		t.Errorf("got %d, want the rollout's alone", len(crons))
	}
}

// The Job's pod has the keepers' certificate, which may do much, and nothing else: no server's key, no password, no token, no rights at the API.
func TestSwitchoverHasTheKeepersCertificateAndNothingElse(t *testing.T) {
	for name, r := range map[string]release{
		"generated": {}, "cert_manager": {values: "tls: {mode: certManager}"},
		"own_secret":  {values: "tls: {mode: secret, secret: {name: mine, keys: {keeperCert: k.pem, keeperKey: k-key.pem}}}"},
		"own_account": {values: "serviceAccount: {create: false, name: mine}"},
	} {
		t.Run(name, func(t *testing.T) {
			all := objects(t, r.mustRender(t))
			spec := cron(t, all, "-switchover").Spec.JobTemplate.Spec.Template.Spec
			if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
				t.Error("a token is mounted")
			}
			for _, binding := range of[*rbacv1.RoleBinding](all) {
				if slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == spec.ServiceAccountName }) {
					t.Errorf("%s may do what %s allows", spec.ServiceAccountName, binding.RoleRef.Name)
				}
			}
			if len(spec.Volumes) != 1 || len(spec.InitContainers) != 0 || len(spec.Containers) != 1 {
				t.Fatalf("got %+v", spec)
			}
			var paths []string
			v := spec.Volumes[0]
			if v.Secret != nil {
				for _, item := range v.Secret.Items {
					paths = append(paths, item.Path)
				}
			}
			if v.Projected != nil {
				for _, source := range v.Projected.Sources {
					for _, item := range source.Secret.Items {
						paths = append(paths, item.Path)
					}
				}
			}
			slices.Sort(paths)
			if got := strings.Join(paths, " "); got != "ca.crt keeper.crt keeper.key" {
				t.Errorf("mounted: %s", got)
			}
		})
	}
}

func TestSwitchoverReachesTheKeepers(t *testing.T) {
	r := release{name: "quay", namespace: "prod", values: "clusterDomain: k8s.example.com"}
	c := switchover(t, r)
	container := c.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
	if got := strings.Join(container.Command, " "); got != "role switchover" {
		t.Errorf("command: %s", got)
	}
	env := map[string]corev1.EnvVar{}
	for _, e := range container.Env {
		env[e.Name] = e
	}
	if got := env["PGSPAN_KEEPERS"].Value; got != "quay-members.prod.svc.k8s.example.com:8009" {
		t.Errorf("keepers: %s", got)
	}
	// A second pod of one Job must not ask for a second switchover.
	id := env["PGSPAN_ID"].ValueFrom
	if id == nil || id.FieldRef == nil || id.FieldRef.FieldPath != "metadata.labels['batch.kubernetes.io/controller-uid']" {
		t.Errorf("id: %+v", env["PGSPAN_ID"])
	}
}
