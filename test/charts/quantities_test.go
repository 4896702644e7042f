package charts

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Helm reads each number of a values file as a float, and prints ten million as 1e+07.
func TestQuantitiesInBytesAreTakenAsTheyStand(t *testing.T) {
	all := objects(t, release{values: `
failover: {maxLagOnFailover: 16777216, maxAutoDiscard: 67108864}
agents: {keeper: {resources: {limits: {memory: 100663296}}}, extraEnv: {VERBOSE: true}}
persistence: {size: 10737418240}
database: {resources: {limits: {memory: 2147483648}}}
pgpool: {cache: {enabled: true, expireSeconds: 31536000, memcached: {host: cache}}}`}.mustRender(t))
	var settings struct {
		Failover   map[string]any `json:"failover"`
		VolumeSize string         `json:"volumeSize"`
	}
	if err := yaml.Unmarshal([]byte(named[*corev1.ConfigMap](t, all, "demo-settings").Data["settings.yaml"]), &settings); err != nil {
		t.Fatal(err)
	}
	if f := settings.Failover; f["maxLagOnFailover"] != float64(16<<20) || f["maxAutoDiscard"] != float64(64<<20) || settings.VolumeSize != "10737418240" {
		t.Errorf("settings = %+v", settings)
	}
	set := named[*appsv1.StatefulSet](t, all, "demo-primary")
	if got := set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().Value(); got != 10<<30 {
		t.Errorf("volumes of %d bytes", got)
	}
	env := map[string]string{}
	for _, c := range set.Spec.Template.Spec.InitContainers {
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
	}
	if env["GOMEMLIMIT"] != "67108864" || env["VERBOSE"] != "true" {
		t.Errorf("environment: GOMEMLIMIT=%s VERBOSE=%s", env["GOMEMLIMIT"], env["VERBOSE"])
	}
	for file, data := range named[*corev1.ConfigMap](t, all, "demo-pgpool").Data {
		if !strings.Contains(data, "expireSeconds: 31536000") {
			t.Errorf("%s: %s", file, data)
		}
	}
}
