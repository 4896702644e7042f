package charts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// strict refuses unknown and repeated fields, as `kubectl apply --validate=strict` does.
var strict = serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()

// foreign are the kinds of other projects that the chart may make; client-go does not know them.
var foreign = []string{"cert-manager.io/v1, Kind=Certificate", "cert-manager.io/v1, Kind=Issuer", "monitoring.coreos.com/v1, Kind=PodMonitor"}

// objects decodes everything that was rendered; NOTES.txt is no object.
func objects(t testing.TB, files map[string]string) []runtime.Object {
	t.Helper()
	var all []runtime.Object
	for _, path := range keys(files) {
		if path == "NOTES.txt" {
			continue
		}
		for _, doc := range documents(t, files[path]) {
			all = append(all, decode(t, path, doc))
		}
	}
	return all
}

func decode(t testing.TB, path string, doc []byte) runtime.Object {
	t.Helper()
	var u unstructured.Unstructured
	if err := yaml.UnmarshalStrict(doc, &u.Object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if slices.Contains(foreign, u.GroupVersionKind().String()) {
		return &u
	}
	object, _, err := strict.Decode(doc, nil, nil)
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, doc)
	}
	return object
}

// of are the objects of one type.
func of[T runtime.Object](all []runtime.Object) []T {
	var found []T
	for _, object := range all {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

func named[T interface {
	runtime.Object
	metav1.Object
}](t testing.TB, all []runtime.Object, name string) T {
	t.Helper()
	for _, object := range of[T](all) {
		if object.GetName() == name {
			return object
		}
	}
	var none T
	t.Fatalf("there is no %T %s", none, name)
	return none
}

// pod is a pod template with the name of what makes it.
type pod struct {
	owner string
	metav1.ObjectMeta
	spec corev1.PodSpec
}

func pods(all []runtime.Object) []pod {
	var found []pod
	for _, set := range of[*appsv1.StatefulSet](all) {
		found = append(found, pod{"StatefulSet " + set.Name, set.Spec.Template.ObjectMeta, set.Spec.Template.Spec})
	}
	for _, deployment := range of[*appsv1.Deployment](all) {
		found = append(found, pod{"Deployment " + deployment.Name, deployment.Spec.Template.ObjectMeta, deployment.Spec.Template.Spec})
	}
	for _, cron := range of[*batchv1.CronJob](all) {
		template := cron.Spec.JobTemplate.Spec.Template
		found = append(found, pod{"CronJob " + cron.Name, template.ObjectMeta, template.Spec})
	}
	for _, single := range of[*corev1.Pod](all) {
		found = append(found, pod{"Pod " + single.Name, single.ObjectMeta, single.Spec})
	}
	return found
}

// everyRelease calls f with the objects of each example, and of one whose release has the longest name that Helm allows.
func everyRelease(t *testing.T, f func(t *testing.T, all []runtime.Object)) {
	t.Helper()
	for _, name := range append(exampleNames(t), "longest_name", "longest_uncut_name", "shortest_cut_name") {
		t.Run(name, func(t *testing.T) { f(t, exampleObjects(t, name)) })
	}
}

// decoded keeps what exampleObjects made: many tests look at the same objects, and none changes them.
var decoded = map[string][]runtime.Object{}

func exampleObjects(t *testing.T, name string) []runtime.Object {
	t.Helper()
	if decoded[name] == nil {
		r := release{values: "networkPolicy: {enabled: true}\nservice: {cross: {enabled: true}}"}
		switch name {
		case "longest_name":
			r.name = longest
		case "longest_uncut_name":
			r.name = strings.Repeat("q", 40)
		case "shortest_cut_name":
			r.name = strings.Repeat("q", 41)
		default:
			values, err := os.ReadFile(filepath.Join(chartDir, "examples", name, "values.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			r = release{values: string(values)}
		}
		decoded[name] = objects(t, r.mustRender(t))
	}
	return decoded[name]
}

var longest = "vulnerability-database-of-the-container-registry-prod"

func TestNamesAndLabelsFitIntoKubernetes(t *testing.T) {
	if len(longest) != 53 {
		t.Fatalf("the longest release name has %d characters, want 53", len(longest))
	}
	everyRelease(t, func(t *testing.T, all []runtime.Object) {
		seen := map[string]bool{}
		for _, object := range all {
			accessor := object.(metav1.Object)
			what := fmt.Sprintf("%T %s", object, accessor.GetName())
			if seen[what] {
				t.Errorf("%s is made twice", what)
			}
			seen[what] = true
			for _, problem := range validation.IsDNS1123Subdomain(accessor.GetName()) {
				t.Errorf("%s: %s", what, problem)
			}
			if _, service := object.(*corev1.Service); service {
				for _, problem := range validation.IsDNS1035Label(accessor.GetName()) {
					t.Errorf("%s: %s", what, problem)
				}
			}
			checkLabels(t, what, accessor.GetLabels())
			for _, key := range []string{"name", "instance", "component", "version", "managed-by", "part-of"} {
				if accessor.GetLabels()["app.kubernetes.io/"+key] == "" && accessor.GetLabels()["helm.sh/chart"] != "" {
					t.Errorf("%s has no label app.kubernetes.io/%s", what, key)
				}
			}
			if accessor.GetNamespace() == "" {
				t.Errorf("%s names no namespace, so it would follow the client's", what)
			}
		}
		for _, p := range pods(all) {
			checkLabels(t, "a pod of "+p.owner, p.Labels)
			if strings.HasPrefix(p.owner, "Pod ") {
				continue // the pod of helm test lives for seconds
			}
			if p.Labels["app.kubernetes.io/version"] != "" || p.Labels["helm.sh/chart"] != "" {
				t.Errorf("a pod of %s has a version in its labels: each upgrade of the chart would restart the database", p.owner)
			}
		}
		for _, set := range of[*appsv1.StatefulSet](all) {
			// Kubernetes makes the label controller-revision-hash of the name and up to eleven characters.
			if len(set.Name) > 52 {
				t.Errorf("StatefulSet %s: %d characters, with its revision's hash more than 63", set.Name, len(set.Name))
			}
		}
		for _, cron := range of[*batchv1.CronJob](all) {
			// Kubernetes makes the names of Jobs of it, with eleven characters more.
			if len(cron.Name) > 52 {
				t.Errorf("CronJob %s: %d characters, with a Job's number more than 63", cron.Name, len(cron.Name))
			}
		}
	})
}

func checkLabels(t *testing.T, what string, labels map[string]string) {
	t.Helper()
	for key, value := range labels {
		for _, problem := range append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...) {
			t.Errorf("%s: label %s=%s: %s", what, key, value, problem)
		}
	}
}

func TestUnusualReleaseNames(t *testing.T) {
	cases := map[string]struct{ release, want string }{
		"short":             {"quay", "quay"},
		"begins_with_digit": {"1st", "pg-1st"},
		"dots":              {"quay.prod", "quay-prod"},
		"too_long":          {longest, "vulnerability-database-of-the-c-f51541b3"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			all := objects(t, release{name: c.release}.mustRender(t))
			named[*corev1.Service](t, all, c.want+"-rw")
			named[*appsv1.StatefulSet](t, all, c.want+"-primary")
		})
	}
	// What YAML takes for a number or a truth is text all the same.
	for _, name := range []string{"123", "1e5", "on", "true", "0x10"} {
		for _, s := range of[*appsv1.StatefulSet](objects(t, release{name: name}.mustRender(t))) {
			if got := s.Spec.Selector.MatchLabels["app.kubernetes.io/instance"]; got != name || s.Spec.Template.Labels["app.kubernetes.io/instance"] != name {
				t.Errorf("release %s: selects %s among pods of %s", name, got, s.Spec.Template.Labels["app.kubernetes.io/instance"])
			}
		}
	}
	a := objects(t, release{name: longest}.mustRender(t))
	b := objects(t, release{name: strings.TrimSuffix(longest, "prod") + "test"}.mustRender(t))
	if got, want := of[*appsv1.StatefulSet](a)[0].Name, of[*appsv1.StatefulSet](b)[0].Name; got == want {
		t.Errorf("two releases with long names are both called %s", got)
	}
}
