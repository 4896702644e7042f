// Package dns gives a site's pods their DNS: a CoreDNS beside the control plane, behind the Service that every pod's
// resolv.conf names.
package dns

import (
	"context"
	"fmt"
	"os"

	"github.com/pgspan/pgspan/test/lab/topology"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	namespace = metav1.NamespaceSystem
	service   = "kube-dns"
	port      = 53
)

// WriteCorefile writes CoreDNS's configuration. Names outside the cluster do not exist: the lab has no outside.
func WriteCorefile(file string, s topology.Site, kubeconfig string) error {
	text := fmt.Sprintf(`%[3]s:%[1]d in-addr.arpa:%[1]d {
	bind %[2]s
	errors
	kubernetes %[3]s in-addr.arpa {
		kubeconfig %[4]s
		pods insecure
		ttl 5
	}
	cache 5
}
.:%[1]d {
	bind %[2]s
	template ANY ANY {
		rcode NXDOMAIN
	}
}
`, port, s.ControlPlane().Address(), topology.ClusterDomain, kubeconfig)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write dns configuration: %w", err)
	}
	return nil
}

// Publish makes the Service that pods ask, and points it at the site's CoreDNS.
func Publish(ctx context.Context, client kubernetes.Interface, s topology.Site) error {
	labels := map[string]string{"k8s-app": service, "kubernetes.io/name": "CoreDNS"}
	_, err := client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: service, Labels: labels},
		Spec: corev1.ServiceSpec{ClusterIP: topology.DNSService, Ports: []corev1.ServicePort{
			{Name: "dns", Port: port, Protocol: corev1.ProtocolUDP},
			{Name: "dns-tcp", Port: port, Protocol: corev1.ProtocolTCP},
		}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("publish dns service: %w", err)
	}
	number, udp, tcp := int32(port), corev1.ProtocolUDP, corev1.ProtocolTCP
	udpName, tcpName, ready := "dns", "dns-tcp", true
	_, err = client.DiscoveryV1().EndpointSlices(namespace).Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: service, Labels: map[string]string{
			discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "lab.pgspan.io"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: &udpName, Port: &number, Protocol: &udp}, {Name: &tcpName, Port: &number, Protocol: &tcp}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{s.ControlPlane().Address().String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("publish dns address: %w", err)
	}
	return nil
}
