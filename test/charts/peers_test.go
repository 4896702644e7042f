package charts

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// peersPort is where keepers call each other, whatever the values say.
const peersPort = 8009

func TestKeepersReachEachOther(t *testing.T) {
	for name, r := range map[string]release{
		"default":         {},
		"closed_to_all":   {values: "networkPolicy: {enabled: true, clients: [{podSelector: {matchLabels: {app: portal}}}], monitoring: [{podSelector: {matchLabels: {app: prometheus}}}]}"},
		"open_to_clients": {values: "networkPolicy: {enabled: true}"},
	} {
		t.Run(name, func(t *testing.T) {
			all := objects(t, r.mustRender(t))
			for _, p := range databasePods(all) {
				keeper := container(t, p, "keeper")
				if !slices.ContainsFunc(keeper.Ports, func(c corev1.ContainerPort) bool { return c.Name == "peers" && c.ContainerPort == peersPort }) {
					t.Errorf("%s: keeper's ports are %v", p.owner, keeper.Ports)
				}
			}
			for _, set := range of[*appsv1.StatefulSet](all) {
				ports := named[*corev1.Service](t, all, set.Spec.ServiceName).Spec.Ports
				if !slices.ContainsFunc(ports, func(s corev1.ServicePort) bool { return s.Port == peersPort && s.TargetPort.IntValue() == peersPort }) {
					t.Errorf("the ports of %s are %v", set.Spec.ServiceName, ports)
				}
			}
			for _, policy := range of[*networkingv1.NetworkPolicy](all) {
				if strings.HasSuffix(policy.Name, "-database") {
					checkPeersPolicy(t, policy, databasePods(all))
				}
			}
		})
	}
}

// Members may call, all of them, and the Jobs that ask a primary to step down; nobody else.
func checkPeersPolicy(t *testing.T, policy *networkingv1.NetworkPolicy, members []pod) {
	t.Helper()
	var from []networkingv1.NetworkPolicyPeer
	for _, rule := range policy.Spec.Ingress {
		if slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntValue() == peersPort }) {
			if len(rule.From) == 0 {
				t.Errorf("%s: anybody may call keepers", policy.Name)
			}
			from = append(from, rule.From...)
		}
	}
	if len(from) != 2 || from[0].PodSelector == nil || from[1].PodSelector == nil {
		t.Fatalf("%s: keepers may be called by %v", policy.Name, from)
	}
	if got := from[1].PodSelector.MatchLabels; got["app.kubernetes.io/component"] != "role" || got["app.kubernetes.io/instance"] != from[0].PodSelector.MatchLabels["app.kubernetes.io/instance"] {
		t.Errorf("%s: %v calls keepers", policy.Name, got)
	}
	selector, err := metav1.LabelSelectorAsSelector(from[0].PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	if selector.Empty() || selector.Matches(labels.Set{"app.kubernetes.io/component": "pgpool"}) {
		t.Errorf("%s: %v calls keepers", policy.Name, selector)
	}
	for _, m := range members {
		if !selector.Matches(labels.Set(m.Labels)) {
			t.Errorf("%s: %s may not call keepers", policy.Name, m.owner)
		}
	}
}

// A keeper answers under its pod's name, which the certificate must cover for as many pods as there will ever be.
func TestServerCertificateIsGoodForEveryPod(t *testing.T) {
	for name, r := range map[string]release{
		"generated":    {name: "quay", namespace: "prod"},
		"cert_manager": {name: "quay", namespace: "prod", values: "tls: {mode: certManager}"},
		"long_name":    {name: longest, namespace: "prod"},
		"other_domain": {name: "quay", namespace: "prod", values: "clusterDomain: k8s.example.com\nfullnameOverride: registry"},
		"other_space":  {name: "quay", namespace: "prod", values: "namespaceOverride: databases"},
	} {
		t.Run(name, func(t *testing.T) {
			all := objects(t, r.mustRender(t))
			names, _ := serverNames(t, all)
			domain := "cluster.local"
			if name == "other_domain" {
				domain = "k8s.example.com"
			}
			for _, set := range of[*appsv1.StatefulSet](all) {
				for _, number := range []int{0, 1, 27} {
					host := fmt.Sprintf("%s-%d.%s.%s.svc.%s", set.Name, number, set.Spec.ServiceName, set.Namespace, domain)
					if err := (&x509.Certificate{DNSNames: names}).VerifyHostname(host); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}
