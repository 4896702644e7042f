package charts

import (
	"maps"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// Pods see changed settings a minute later, so a rollout names those that it is for. A name that no agent ever reports would be waited for in vain, one that
// stays the same would be met by the settings of before. That the agents read it is a test of theirs.
func TestRolloutNamesItsSettings(t *testing.T) {
	names := map[string]string{}
	for _, values := range []string{"", "postgresql: {parameters: {log_line_prefix: \"it's 100% \"}}", "failover: {failBackAfter: 5m}", "rollout: {soak: 2m}"} {
		all := objects(t, release{values: values}.mustRender(t))
		configs := of[*corev1.ConfigMap](all)
		i := slices.IndexFunc(configs, func(m *corev1.ConfigMap) bool { return strings.HasSuffix(m.Name, "-settings") })
		first, _, _ := strings.Cut(configs[i].Data["settings.yaml"], "\n")
		name := strings.TrimPrefix(first, "# name: ")
		names[values] = name
		command := strings.Join(cron(t, all, "-rollout").Spec.JobTemplate.Spec.Template.Spec.Containers[0].Command, " ")
		if len(name) != 16 || !strings.HasPrefix(command, "role rollout --settings="+name+" --for=10m --soak=") {
			t.Errorf("%q: %s for %s", values, command, first)
		}
	}
	if names[""] != names["rollout: {soak: 2m}"] {
		t.Errorf("settings that are the same have two names: %v", names)
	}
	if delete(names, ""); len(slices.Compact(slices.Sorted(maps.Values(names)))) != 3 {
		t.Errorf("settings that differ have one name: %v", names)
	}
}

func TestUpgradeRestartsNothingUnlessAskedTo(t *testing.T) {
	for name, c := range map[string]struct{ values, want string }{
		"default":      {"", ""},
		"off_unquoted": {"rollout: {onUpgrade: off}", ""},
		"start":        {"rollout: {onUpgrade: start}", "--wait=false"},
		"wait":         {"rollout: {onUpgrade: wait}", "--wait=true"},
	} {
		t.Run(name, func(t *testing.T) {
			all := objects(t, release{values: c.values}.mustRender(t))
			if r := cron(t, all, "-rollout"); r.Spec.Suspend == nil || !*r.Spec.Suspend {
				t.Error("the CronJob runs by itself")
			}
			jobs := of[*batchv1.Job](all)
			if (len(jobs) == 0) != (c.want == "") {
				t.Fatalf("%d Jobs", len(jobs))
			}
			if c.want == "" {
				return
			}
			command := jobs[0].Spec.Template.Spec.Containers[0].Command
			if got := command[len(command)-1]; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			// An install has nothing to roll, and a Job of before is in the way of the next one.
			if got := jobs[0].Annotations["helm.sh/hook"]; got != "post-upgrade,post-rollback" || jobs[0].Annotations["helm.sh/hook-delete-policy"] != "before-hook-creation" {
				t.Errorf("hook: %v", jobs[0].Annotations)
			}
		})
	}
}

// What keeper deletes are pods of this release, by name.
func TestKeeperMayDeleteItsOwnPodsAlone(t *testing.T) {
	for _, role := range of[*rbacv1.Role](objects(t, release{name: "quay"}.mustRender(t))) {
		for _, rule := range role.Rules {
			if !slices.Contains(rule.Verbs, "delete") {
				continue
			}
			if strings.Join(rule.Resources, " ") != "pods" || len(rule.ResourceNames) == 0 {
				t.Errorf("may delete %v named %v", rule.Resources, rule.ResourceNames)
			}
			for _, name := range rule.ResourceNames {
				if !strings.HasPrefix(name, "quay-primary-") && !strings.HasPrefix(name, "quay-replica-") {
					t.Errorf("may delete the pod %s", name)
				}
			}
		}
	}
}
