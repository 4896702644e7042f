package charts

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// A database of three members apart from each other may fill all nodes: what stands beside it must find a place.
func TestOrdersStandBesideTheDatabase(t *testing.T) {
	all := objects(t, release{values: `
rollout: {memberTimeout: 2h, soak: 10m}
database:
  nodeSelector: {disk: fast}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}]
  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app.kubernetes.io/component: database}}}]}}`}.mustRender(t))
	specs := map[string]corev1.PodSpec{"demo-test": named[*corev1.Pod](t, all, "demo-test").Spec}
	for _, name := range []string{"demo-switchover", "demo-rollout"} {
		specs[name] = named[*batchv1.CronJob](t, all, name).Spec.JobTemplate.Spec.Template.Spec
	}
	for name, s := range specs {
		if s.Affinity != nil || len(s.TopologySpreadConstraints) > 0 || s.NodeSelector["disk"] != "fast" {
			t.Errorf("%s: affinity %v, spread %v, nodes %v", name, s.Affinity, s.TopologySpreadConstraints, s.NodeSelector)
		}
	}
	// Three members, and the last one after a switchover.
	if got, least := *named[*batchv1.CronJob](t, all, "demo-rollout").Spec.JobTemplate.Spec.ActiveDeadlineSeconds, int64(4*130*60); got < least {
		t.Errorf("a rollout is ended after %d s, and may take %d", got, least)
	}
}
