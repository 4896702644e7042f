package charts

import (
	"fmt"
	"maps"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// selector is one of a release's, with the place where it stands.
type selector struct {
	where string
	labels.Selector
}

func selectors(t *testing.T, all []runtime.Object) []selector {
	t.Helper()
	var found []selector
	add := func(where string, given *metav1.LabelSelector) {
		parsed, err := metav1.LabelSelectorAsSelector(given)
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		found = append(found, selector{where, parsed})
	}
	for _, service := range of[*corev1.Service](all) {
		if service.Spec.Selector != nil {
			add("Service "+service.Name, &metav1.LabelSelector{MatchLabels: service.Spec.Selector})
		}
	}
	for _, set := range of[*appsv1.StatefulSet](all) {
		add("StatefulSet "+set.Name, set.Spec.Selector)
	}
	for _, deployment := range of[*appsv1.Deployment](all) {
		add("Deployment "+deployment.Name, deployment.Spec.Selector)
	}
	for _, budget := range of[*policyv1.PodDisruptionBudget](all) {
		add("PodDisruptionBudget "+budget.Name, budget.Spec.Selector)
	}
	for _, policy := range of[*networkingv1.NetworkPolicy](all) {
		add("NetworkPolicy "+policy.Name, &policy.Spec.PodSelector)
	}
	for _, p := range pods(all) {
		for i, constraint := range p.spec.TopologySpreadConstraints {
			add(fmt.Sprintf("topologySpreadConstraints %d of %s", i, p.owner), constraint.LabelSelector)
		}
		if p.spec.Affinity == nil || p.spec.Affinity.PodAntiAffinity == nil {
			continue
		}
		for _, term := range p.spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			add("soft anti-affinity of "+p.owner, term.PodAffinityTerm.LabelSelector)
		}
		for _, term := range p.spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			add("hard anti-affinity of "+p.owner, term.LabelSelector)
		}
	}
	return found
}

// lives are the labels that a pod of this template can have: keeper adds what the member is at present.
func lives(p pod) []labels.Set {
	var all []labels.Set
	for _, added := range []map[string]string{{}, {"pgspan.io/role": "primary", "pgspan.io/leader": "true"}, {"pgspan.io/role": "replica"}} {
		life := labels.Set{}
		maps.Copy(life, p.Labels)
		maps.Copy(life, added)
		all = append(all, life)
	}
	return all
}

func (s selector) matchesAny(all []pod) bool {
	for _, p := range all {
		for _, life := range lives(p) {
			if s.Matches(life) {
				return true
			}
		}
	}
	return false
}

// TestSelectorsOfTwoReleasesNeverMatchEachOthersPods: staging and production live side by side in one namespace.
func TestSelectorsOfTwoReleasesNeverMatchEachOthersPods(t *testing.T) {
	values := "networkPolicy: {enabled: true}\nservice: {cross: {enabled: true}}\ndatabase: {antiAffinity: hard, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}"
	pairs := map[string][2]release{
		"two_names":             {{name: "staging", values: values}, {name: "production", values: values}},
		"one_name_begins_other": {{name: "quay", values: values}, {name: "quay-primary", values: values}},
		"long_names":            {{name: longest, values: values}, {name: longest[:50], values: values}},
		"one_name_elsewhere":    {{name: "db", namespace: "a", values: values + "\nnamespaceOverride: shared\nfullnameOverride: shop"}, {name: "db", namespace: "a", values: values + "\nnamespaceOverride: shared\nfullnameOverride: till"}},
		"one_name_two_sources":  {{name: "db", namespace: "shared", values: values}, {name: "db", namespace: "a", values: values + "\nnamespaceOverride: shared\nfullnameOverride: shop"}},
		"other_full_name":       {{name: "quay", values: values}, {name: "clair", values: values + "\nfullnameOverride: quay-2"}},
	}
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			a, b := objects(t, pair[0].mustRender(t)), objects(t, pair[1].mustRender(t))
			for _, way := range [][2][]runtime.Object{{a, b}, {b, a}} {
				own, others := pods(way[0]), pods(way[1])
				for _, s := range selectors(t, way[0]) {
					if s.Empty() {
						t.Errorf("%s selects every pod of the namespace", s.where)
					}
					if s.matchesAny(others) {
						t.Errorf("%s (%s) selects a pod of the other release", s.where, s)
					}
					if !s.matchesAny(own) {
						t.Errorf("%s (%s) selects none of its own pods", s.where, s)
					}
				}
			}
		})
	}
}

func TestWhatSelectorsSelectWithinARelease(t *testing.T) {
	all := objects(t, release{values: "service: {cross: {enabled: true}}"}.mustRender(t))
	primaryBorn, replicaBorn := pod{}, pod{}
	pgpool := pod{}
	for _, p := range pods(all) {
		switch p.owner {
		case "StatefulSet demo-primary":
			primaryBorn = p
		case "StatefulSet demo-replica":
			replicaBorn = p
		case "Deployment demo-pgpool":
			pgpool = p
		}
	}
	with := func(p pod, more map[string]string) labels.Set {
		life := labels.Set{}
		maps.Copy(life, p.Labels)
		maps.Copy(life, more)
		return life
	}
	// After a failover: what was born a replica leads.
	leader := with(replicaBorn, map[string]string{"pgspan.io/role": "primary", "pgspan.io/leader": "true"})
	follower := with(primaryBorn, map[string]string{"pgspan.io/role": "replica"})
	unknown := with(primaryBorn, nil)
	cases := map[string]map[string]bool{ // Service → leader, follower, unknown, pgpool
		"demo-ro":      {"leader": false, "follower": true, "unknown": false, "pgpool": false},
		"demo-r":       {"leader": true, "follower": true, "unknown": true, "pgpool": false},
		"demo-members": {"leader": true, "follower": true, "unknown": true, "pgpool": false},
		"demo-cross":   {"leader": true, "follower": false, "unknown": false, "pgpool": false},
		"demo-pgpool":  {"leader": false, "follower": false, "unknown": false, "pgpool": true},
	}
	lives := map[string]labels.Set{"leader": leader, "follower": follower, "unknown": unknown, "pgpool": with(pgpool, nil)}
	for service, wants := range cases {
		s := labels.SelectorFromSet(named[*corev1.Service](t, all, service).Spec.Selector)
		for who, want := range wants {
			if got := s.Matches(lives[who]); got != want {
				t.Errorf("%s selects %s: got %v, want %v", service, who, got, want)
			}
		}
	}
	if got := named[*corev1.Service](t, all, "demo-rw").Spec.Selector; got != nil {
		t.Errorf("rw has the selector %v: only the holder of the lease may say where it leads", got)
	}
	for _, set := range of[*appsv1.StatefulSet](all) {
		s, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		if s.Matches(labels.Set(primaryBorn.Labels)) && s.Matches(labels.Set(replicaBorn.Labels)) {
			t.Errorf("StatefulSet %s selects the pods of both sets", set.Name)
		}
		for key := range set.Spec.Selector.MatchLabels {
			if key == "app.kubernetes.io/version" || key == "helm.sh/chart" || key == "pgspan.io/role" {
				t.Errorf("StatefulSet %s selects by %s, which changes", set.Name, key)
			}
		}
	}
}

func TestReadsOfASingleServerHaveSomewhereToGo(t *testing.T) {
	all := objects(t, release{values: "replicas: 0"}.mustRender(t))
	if _, limited := named[*corev1.Service](t, all, "demo-ro").Spec.Selector["pgspan.io/role"]; limited {
		t.Error("ro waits for a replica that will never exist")
	}
}

func TestBudgetNeverHangsADrain(t *testing.T) {
	cases := map[string]struct {
		values string
		want   map[string]int // component → maxUnavailable
	}{
		"defaults":          {"", map[string]int{"database": 1, "pgpool": 1}},
		"single_server":     {"replicas: 0", map[string]int{}},
		"single_pgpool":     {"pgpool: {replicas: 1}", map[string]int{"database": 1}},
		"single_but_pgpool": {"replicas: 0\npgpool: {replicas: 2}", map[string]int{"pgpool": 1}},
		"without_pgpool":    {"pgpool: {enabled: false}", map[string]int{"database": 1}},
		"turned_off":        {"database: {pdb: {enabled: false}}", map[string]int{"pgpool": 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := map[string]int{}
			for _, budget := range of[*policyv1.PodDisruptionBudget](objects(t, release{values: c.values}.mustRender(t))) {
				got[budget.Labels["app.kubernetes.io/component"]] = budget.Spec.MaxUnavailable.IntValue()
				if policy := budget.Spec.UnhealthyPodEvictionPolicy; policy == nil || *policy != policyv1.AlwaysAllow {
					t.Errorf("%s: a pod that is not ready could not be evicted", budget.Name)
				}
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("budgets = %v, want %v", got, c.want)
			}
		})
	}
}
