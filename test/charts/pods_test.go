package charts

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func containers(p pod) []corev1.Container {
	return slices.Concat(p.spec.InitContainers, p.spec.Containers)
}

func container(t testing.TB, p pod, name string) corev1.Container {
	t.Helper()
	for _, c := range containers(p) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("%s has no container %s", p.owner, name)
	return corev1.Container{}
}

func databasePods(all []runtime.Object) []pod {
	return slices.DeleteFunc(pods(all), func(p pod) bool { return p.Labels["app.kubernetes.io/component"] != "database" })
}

// TestPodsPassTheRestrictedLevel asks Kubernetes' own judge of the Pod Security Standards.
func TestPodsPassTheRestrictedLevel(t *testing.T) {
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	everyRelease(t, func(t *testing.T, all []runtime.Object) {
		for _, p := range pods(all) {
			verdicts := judge.EvaluatePod(psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}, &p.ObjectMeta, &p.spec)
			if verdict := policy.AggregateCheckResults(verdicts); !verdict.Allowed {
				t.Errorf("%s: %s", p.owner, verdict.ForbiddenDetail())
			}
			for _, c := range containers(p) {
				if sc := c.SecurityContext; sc == nil || sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem {
					t.Errorf("%s: the root file system of %s is writable", p.owner, c.Name)
				}
			}
			if p.spec.ShareProcessNamespace != nil {
				t.Errorf("%s shares a process namespace: guard would not be PID 1", p.owner)
			}
		}
	})
}

func TestEveryContainerSaysWhatItNeeds(t *testing.T) {
	everyRelease(t, func(t *testing.T, all []runtime.Object) {
		for _, p := range pods(all) {
			for _, c := range containers(p) {
				for _, kind := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
					if amount := c.Resources.Requests[kind]; amount.IsZero() {
						t.Errorf("%s: %s requests no %s", p.owner, c.Name, kind)
					}
				}
				limited := !c.Resources.Limits.Memory().IsZero()
				if !limited && c.Name != "postgres" && c.Name != "seed" {
					t.Errorf("%s: %s has no memory limit", p.owner, c.Name)
				}
				if !c.Resources.Limits.Cpu().IsZero() {
					t.Errorf("%s: %s has a CPU limit: what is throttled is late", p.owner, c.Name)
				}
			}
			for _, v := range p.spec.Volumes {
				if v.EmptyDir != nil && (v.EmptyDir.Medium != corev1.StorageMediumMemory || v.EmptyDir.SizeLimit == nil) {
					t.Errorf("%s: volume %s is not sized memory", p.owner, v.Name)
				}
			}
		}
	})
}

func TestTheAPITokenReachesKeeperAlone(t *testing.T) {
	everyRelease(t, func(t *testing.T, all []runtime.Object) {
		for _, account := range of[*corev1.ServiceAccount](all) {
			if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
				t.Errorf("ServiceAccount %s mounts its token into every pod", account.Name)
			}
		}
		for _, p := range pods(all) {
			if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
				t.Errorf("%s mounts a token into every container", p.owner)
			}
			for _, v := range p.spec.Volumes {
				if v.Projected == nil || !slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.ServiceAccountToken != nil }) {
					continue
				}
				for _, c := range containers(p) {
					if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name }) != (c.Name == "keeper") {
						t.Errorf("%s: token mounted into %s", p.owner, c.Name)
					}
				}
			}
		}
		for _, role := range of[*rbacv1.Role](all) {
			for _, rule := range role.Rules {
				writes := slices.ContainsFunc(rule.Verbs, func(v string) bool { return v != "get" && v != "list" && v != "watch" && v != "create" })
				if writes && len(rule.ResourceNames) == 0 {
					t.Errorf("Role %s may %v any of %v", role.Name, rule.Verbs, rule.Resources)
				}
				// Secrets by name only: the users' are read, and one alone is written.
				reads, n := slices.Equal(rule.Verbs, []string{"get"}), len(rule.ResourceNames)
				secrets := slices.Contains(rule.Resources, "secrets") && n != 1 && (n == 0 || !reads)
				if slices.Contains(rule.Resources, "*") || slices.Contains(rule.Verbs, "*") || secrets {
					t.Errorf("Role %s: %v of %v", role.Name, rule.Verbs, rule.Resources)
				}
			}
		}
		for _, object := range all {
			if kind := object.GetObjectKind().GroupVersionKind().Kind; strings.HasPrefix(kind, "Cluster") {
				t.Errorf("a %s needs rights over the whole cluster", kind)
			}
		}
	})
}

func TestDatabasePodsAreBuiltAsTheAgentsNeed(t *testing.T) {
	everyRelease(t, func(t *testing.T, all []runtime.Object) {
		for _, set := range of[*appsv1.StatefulSet](all) {
			if set.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType {
				t.Errorf("%s rolls by itself", set.Name)
			}
			if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
				t.Errorf("%s starts its pods in order", set.Name)
			}
			if keep := set.Spec.PersistentVolumeClaimRetentionPolicy; keep == nil || keep.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType || keep.WhenScaled != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
				t.Errorf("%s does not keep its volumes", set.Name)
			}
			claim := set.Spec.VolumeClaimTemplates[0]
			if claim.Name != "data" || claim.Labels["pgspan.io/cluster"] == "" || claim.Labels["helm.sh/chart"] != "" {
				t.Errorf("%s: claim %s with labels %v", set.Name, claim.Name, claim.Labels)
			}
			if set.Spec.ServiceName != strings.TrimSuffix(strings.TrimSuffix(set.Name, "-primary"), "-replica")+"-members" {
				t.Errorf("%s: serviceName %s", set.Name, set.Spec.ServiceName)
			}
		}
		for _, p := range databasePods(all) {
			checkOrder(t, p)
			checkMounts(t, p)
			checkProbes(t, p)
		}
	})
}

func checkOrder(t *testing.T, p pod) {
	t.Helper()
	var order []string
	for _, c := range p.spec.InitContainers {
		order = append(order, c.Name)
	}
	// keeper before seed: seed waits for keeper's grant.
	if want := []string{"agents", "keeper", "seed"}; !slices.Equal(order[max(0, len(order)-3):], want) {
		t.Errorf("%s: init containers %v, want %v last", p.owner, order, want)
	}
	if policy := container(t, p, "keeper").RestartPolicy; policy == nil || *policy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("%s: keeper is no sidecar", p.owner)
	}
	for _, c := range containers(p) {
		if c.Lifecycle != nil {
			t.Errorf("%s: %s has a lifecycle hook: kubelet's grace period has one owner, guard", p.owner, c.Name)
		}
	}
	if grace := p.spec.TerminationGracePeriodSeconds; grace == nil || *grace < 30 {
		t.Errorf("%s: grace period %v", p.owner, grace)
	}
}

func checkMounts(t *testing.T, p pod) {
	t.Helper()
	var volumes []string
	for _, v := range p.spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	volumes = append(volumes, "data")
	for _, c := range containers(p) {
		for _, m := range c.VolumeMounts {
			if !slices.Contains(volumes, m.Name) {
				t.Errorf("%s: %s mounts %s, which is no volume", p.owner, c.Name, m.Name)
			}
		}
	}
	mounts := func(name string) map[string]string {
		found := map[string]string{}
		for _, m := range container(t, p, name).VolumeMounts {
			kind := m.Name
			if m.ReadOnly {
				kind += " ro"
			}
			found[m.MountPath] = kind
		}
		return found
	}
	server := map[string]string{
		"/var/lib/pgspan": "data", "/pgspan/bin": "bin ro", "/etc/passwd": "bin ro", "/pgspan/control": "control", "/pgspan/conf": "conf", "/pgspan/keys": "keys",
		"/pgspan/socket": "socket", "/pgspan/settings": "settings ro", "/pgspan/tls": "tls ro", "/dev/shm": "shm", "/tmp": "tmp",
	}
	wants := map[string]map[string]string{
		"agents": {"/pgspan/bin": "bin"}, "seed": server, "postgres": server,
		"keeper": {
			"/pgspan/control": "control", "/pgspan/socket": "socket", "/pgspan/settings": "settings ro", "/pgspan/tls": "tls ro",
			"/var/lib/pgspan": "data ro", "/var/run/secrets/kubernetes.io/serviceaccount": "api ro",
		},
	}
	for name, want := range wants {
		got := mounts(name)
		for path, kind := range want {
			if got[path] != kind {
				t.Errorf("%s: %s has %q at %s, want %q", p.owner, name, got[path], path, kind)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %s mounts %v, want %v", p.owner, name, keys(got), keys(want))
		}
	}
}

func checkProbes(t *testing.T, p pod) {
	t.Helper()
	postgres, keeper := container(t, p, "postgres"), container(t, p, "keeper")
	for _, probe := range []*corev1.Probe{postgres.StartupProbe, postgres.LivenessProbe} {
		// guard alone: neither a recovery of hours nor a lost API may kill a server.
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != "/livez" || probe.HTTPGet.Port.String() != "guard" {
			t.Errorf("%s: the server's life depends on %+v", p.owner, probe)
		}
	}
	if alive := postgres.LivenessProbe; alive.PeriodSeconds*alive.FailureThreshold > 6 || *alive.TerminationGracePeriodSeconds != 1 {
		t.Errorf("%s: a frozen guard is killed after %d s with %d s of grace", p.owner, alive.PeriodSeconds*alive.FailureThreshold, *alive.TerminationGracePeriodSeconds)
	}
	if ready := postgres.ReadinessProbe; ready == nil || ready.HTTPGet.Path != "/readyz" || ready.HTTPGet.Port.IntValue() != 8008 {
		t.Errorf("%s: readiness asks %+v", p.owner, ready)
	}
	for _, probe := range []*corev1.Probe{keeper.StartupProbe, keeper.LivenessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != "/livez" || probe.HTTPGet.Port.String() != "keeper" {
			t.Errorf("%s: keeper's life depends on %+v", p.owner, probe)
		}
	}
}
