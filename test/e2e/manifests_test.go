package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gruntwork-io/terratest/modules/helm"
	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/logger"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

// notServed are the kinds of other projects that an example may make and a plain Kubernetes does not know.
var notServed = []string{"cert-manager.io", "monitoring.coreos.com"}

// TestManifests has a real API server judge every example: unknown fields are errors, what Kubernetes defaults and validates is
// defaulted and validated, and a warning of the server counts, among them each word of the Pod Security Standards.
func TestManifests(t *testing.T) {
	examples, err := filepath.Glob(chart + "/examples/*/values.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples found: %v", err)
	}
	run(t, "every_example_is_accepted_by_the_api_server", 2*time.Minute, func(t *testing.T, ctx context.Context) {
		api := newDryRun(t, ctx)
		needPriorityClass(t, ctx)
		for _, values := range examples {
			t.Run(filepath.Base(filepath.Dir(values)), func(t *testing.T) {
				objects := rendered(t, ctx, api.namespace, values)
				if len(objects) < 12 {
					t.Errorf("only %d objects", len(objects))
				}
				for _, o := range objects {
					api.create(t, ctx, o)
				}
			})
		}
	})
	run(t, "admin_of_a_namespace_is_refused_the_role_and_nothing_else", time.Minute, func(t *testing.T, ctx context.Context) {
		api := newDryRun(t, ctx)
		api.as(t, ctx, "admin")
		for _, o := range rendered(t, ctx, api.namespace, chart+"/examples/minimal/values.yaml") {
			_, err := api.try(ctx, o)
			switch o.GetKind() {
			case "Role":
				if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "endpointslices") || strings.Contains(err.Error(), `"leases"`) {
					t.Errorf("the Role: %v; want a refusal for endpointslices alone, as the chart's README says", err)
				}
			case "RoleBinding": // binds a Role that the dry run has not made
			default:
				if err != nil {
					t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
				}
			}
		}
	})
	run(t, "unknown_field_is_refused", time.Minute, func(t *testing.T, ctx context.Context) {
		api := newDryRun(t, ctx)
		o := rendered(t, ctx, api.namespace, examples[0])[0]
		if err := unstructured.SetNestedField(o.Object, true, "metadata", "nonsense"); err != nil {
			t.Fatal(err)
		}
		if _, err := api.try(ctx, o); err == nil || !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("the API server's word on an unknown field: %v", err)
		}
	})
}

// needPriorityClass makes what the example for production takes for granted, until the case ends.
func needPriorityClass(t *testing.T, ctx context.Context) {
	t.Helper()
	const name = "databases"
	classes := site.Client.SchedulingV1().PriorityClasses()
	_, err := classes.Create(ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: 1000}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := classes.Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// rendered is what `helm template` makes of an example.
func rendered(t *testing.T, ctx context.Context, namespace, values string) []*unstructured.Unstructured {
	t.Helper()
	version, err := site.Client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	options := &helm.Options{
		KubectlOptions: k8s.NewKubectlOptions(site.Name, site.Kubeconfig, namespace), ValuesFiles: []string{values}, Logger: logger.Discard,
	}
	// Without a cluster helm would take the version of its own libraries.
	text := helm.RenderTemplateContext(t, ctx, options, chart, "demo", nil, "--kube-version", version.GitVersion)
	var objects []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		o := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &o.Object); err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

// dryRun asks the API server what it would say, and keeps its warnings.
type dryRun struct {
	namespace string
	client    dynamic.Interface
	mapper    meta.RESTMapper
	mu        sync.Mutex
	warnings  []string
}

func newDryRun(t *testing.T, ctx context.Context) *dryRun {
	t.Helper()
	d := &dryRun{namespace: "e2e-manifests"}
	labels := map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
	if err := site.Namespace(ctx, d.namespace, labels); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(site.Config)
	config.WarningHandlerWithContext = d
	var err error
	if d.client, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	d.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(site.Client.Discovery()))
	return d
}

// as lets the API server take every request from now on for one of somebody who has a ClusterRole in the namespace and nothing else.
func (d *dryRun) as(t *testing.T, ctx context.Context, role string) {
	t.Helper()
	const who = "installer@example.com"
	bindings := site.Client.RbacV1().RoleBindings(d.namespace)
	_, err := bindings.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "installer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: who}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	config := rest.CopyConfig(site.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: who, Groups: []string{"system:authenticated"}}
	if d.client, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (d *dryRun) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.warnings = append(d.warnings, text)
}

// try creates an object without creating it and returns the warnings.
func (d *dryRun) try(ctx context.Context, o *unstructured.Unstructured) ([]string, error) {
	kind := o.GroupVersionKind()
	mapping, err := d.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	d.warnings = nil
	_, err = d.client.Resource(mapping.Resource).Namespace(o.GetNamespace()).Create(ctx, o, metav1.CreateOptions{
		DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.warnings, err
}

func (d *dryRun) create(t *testing.T, ctx context.Context, o *unstructured.Unstructured) {
	t.Helper()
	what := o.GetKind() + " " + o.GetName()
	warnings, err := d.try(ctx, o)
	if meta.IsNoMatchError(err) && slices.Contains(notServed, o.GroupVersionKind().Group) {
		return
	}
	if onlyFamilies(err) {
		// The lab speaks IPv4 alone and said so. All the rest of the Service is to be good.
		unstructured.RemoveNestedField(o.Object, "spec", "ipFamilies")
		unstructured.RemoveNestedField(o.Object, "spec", "ipFamilyPolicy")
		warnings, err = d.try(ctx, o)
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, w := range warnings {
		t.Errorf("%s: the API server warns: %s", what, w)
	}
}

// onlyFamilies tells whether nothing but a Service's address families was refused.
func onlyFamilies(err error) bool {
	var refused *apierrors.StatusError
	if !errors.As(err, &refused) || refused.ErrStatus.Details == nil || len(refused.ErrStatus.Details.Causes) == 0 {
		return false
	}
	return !slices.ContainsFunc(refused.ErrStatus.Details.Causes, func(c metav1.StatusCause) bool { return !strings.HasPrefix(c.Field, "spec.ipFamil") })
}
