package charts

import (
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// The pods that wait for a person's word run, and are replaced by nobody (OnDelete): the word must reach them as they are.
func TestPersonsWordAboutALostRecordReachesRunningPods(t *testing.T) {
	before := objects(t, release{}.mustRender(t))
	after := objects(t, release{values: "bootstrap: {adopt: demo-primary-0@1.3}"}.mustRender(t))
	if text := named[*corev1.ConfigMap](t, after, "demo-settings").Data["settings.yaml"]; !strings.Contains(text, "bootstrap:\n  adopt: demo-primary-0@1.3\n") {
		t.Errorf("the settings do not have it:\n%s", text)
	}
	if text := named[*corev1.ConfigMap](t, before, "demo-settings").Data["settings.yaml"]; strings.Contains(text, "bootstrap:") {
		t.Errorf("nobody has said anything, and agents of the release before refuse keys that they do not know:\n%s", text)
	}
	for _, set := range []string{"demo-primary", "demo-replica"} {
		if a, b := named[*appsv1.StatefulSet](t, before, set), named[*appsv1.StatefulSet](t, after, set); !reflect.DeepEqual(a.Spec.Template, b.Spec.Template) {
			t.Errorf("%s: its pods have to be replaced for it", set)
		}
	}
}
