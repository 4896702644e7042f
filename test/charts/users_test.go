package charts

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// Whoever adds a user must not have to restart a database for it.
func TestUserWhoIsAddedReachesRunningPods(t *testing.T) {
	before := objects(t, release{}.mustRender(t))
	after := objects(t, release{values: `
users: {shop: {existingSecret: shop-login, passwordKey: word}, report: {existingSecret: shop-login, passwordKey: read}, late: {}}
superuser: {tcp: true}`}.mustRender(t))
	for _, set := range []string{"demo-primary", "demo-replica"} {
		if a, b := named[*appsv1.StatefulSet](t, before, set), named[*appsv1.StatefulSet](t, after, set); !reflect.DeepEqual(a.Spec.Template, b.Spec.Template) {
			t.Errorf("%s: its pods have to be replaced for it", set)
		}
	}
	text := named[*corev1.ConfigMap](t, after, "demo-settings").Data["settings.yaml"]
	_, passwords, _ := strings.Cut(text, "\npasswords:\n")
	want := "  app:\n    key: password\n    name: demo-user-app\n  late:\n    key: password\n    name: demo-user-late\n" +
		"  postgres:\n    key: password\n    name: demo-user-postgres\n  report:\n    key: read\n    name: shop-login\n  shop:\n    key: word\n    name: shop-login\n"
	if !strings.HasPrefix(passwords, want) {
		t.Errorf("where the passwords lie: got\n%swant\n%s", text, want)
	}
	var may []string
	for _, role := range of[*rbacv1.Role](after) {
		for _, rule := range role.Rules {
			if slices.Contains(rule.Resources, "secrets") && slices.Equal(rule.Verbs, []string{"get"}) {
				may = append(may, rule.ResourceNames...)
			}
		}
	}
	slices.Sort(may)
	if want := []string{"demo-ca", "demo-user-app", "demo-user-late", "demo-user-postgres", "shop-login"}; !slices.Equal(may, want) {
		t.Errorf("secrets that keeper may read: got %v, want %v", may, want)
	}
}
