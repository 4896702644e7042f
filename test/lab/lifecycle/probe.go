package lifecycle

import (
	"context"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/test/lab/image"
	"github.com/pgspan/pgspan/test/lab/topology"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

// proofSize is a little more than the least xfs accepts.
var proofSize = resource.MustParse("512Mi")

const probePort = 8080

// Probe is a pod of the lab's own with a volume at /data and a load balancer before it.
type Probe struct {
	Site      topology.Site
	Namespace string
	// Class is the storage class of the volume; there is none without a class.
	Class string
	Size  resource.Quantity
	// Node pins the pod to a node; the scheduler chooses otherwise.
	Node string
}

const probeName = "probe"

// Create makes the probe anew, in a namespace of its own.
func (p Probe) Create(ctx context.Context, client kubernetes.Interface) error {
	if err := p.Delete(ctx, client); err != nil {
		return err
	}
	core := client.CoreV1()
	if _, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Namespace}},
		metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make namespace %s: %w", p.Namespace, err)
	}
	if p.Class != "" {
		if _, err := core.PersistentVolumeClaims(p.Namespace).Create(ctx, p.claim(), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("claim a volume: %w", err)
		}
	}
	if _, err := core.Services(p.Namespace).Create(ctx, p.service(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make service: %w", err)
	}
	return p.start(ctx, client)
}

// Move deletes the probe's pod by force, as one does when its node is dead, and starts it on another node with the same volume.
func (p Probe) Move(ctx context.Context, client kubernetes.Interface, to string) error {
	now := int64(0)
	pods := client.CoreV1().Pods(p.Namespace)
	if err := pods.Delete(ctx, probeName, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete probe: %w", err)
	}
	p.Node = to
	return p.start(ctx, client)
}

// start makes the pod. The default service account that it needs is made a moment after the namespace.
func (p Probe) start(ctx context.Context, client kubernetes.Interface) error {
	core := client.CoreV1()
	return until(ctx, "probe pod", func(ctx context.Context) (string, error) {
		_, err := core.Pods(p.Namespace).Create(ctx, p.pod(), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return "", nil
		}
		return "", err
	})
}

// URL waits until the probe runs and its load balancer has an address, and returns that.
func (p Probe) URL(ctx context.Context, client kubernetes.Interface) (string, error) {
	address := ""
	err := until(ctx, "probe pod and its load balancer", func(ctx context.Context) (string, error) {
		service, err := client.CoreV1().Services(p.Namespace).Get(ctx, probeName, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if len(service.Status.LoadBalancer.Ingress) == 0 {
			return "the service has no address", nil
		}
		address = service.Status.LoadBalancer.Ingress[0].IP
		pod, err := client.CoreV1().Pods(p.Namespace).Get(ctx, probeName, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return "", nil
			}
		}
		return fmt.Sprintf("the pod is %s: %s", pod.Status.Phase, p.why(ctx, client, pod)), nil
	})
	return fmt.Sprintf("http://%s:%d", address, probePort), err
}

// why tells the last thing that happened to the pod.
func (p Probe) why(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Message != "" {
			return w.Message
		}
	}
	events, err := client.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod.Name})
	if err != nil || len(events.Items) == 0 {
		return "no event yet"
	}
	return events.Items[len(events.Items)-1].Message
}

// Remove begins the removal of the probe, its volume and its namespace.
func (p Probe) Remove(ctx context.Context, client kubernetes.Interface) error {
	core := client.CoreV1()
	now := int64(0)
	err := core.Pods(p.Namespace).Delete(ctx, probeName, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete probe: %w", err)
	}
	err = core.Namespaces().Delete(ctx, p.Namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete namespace %s: %w", p.Namespace, err)
	}
	return nil
}

// Delete removes the probe, its volume and its namespace, and waits until they are gone.
func (p Probe) Delete(ctx context.Context, client kubernetes.Interface) error {
	if err := p.Remove(ctx, client); err != nil {
		return err
	}
	core := client.CoreV1()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, "end of namespace "+p.Namespace, func(ctx context.Context) (string, error) {
		_, err := core.Namespaces().Get(ctx, p.Namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		return "it is still there", err
	})
}

func (p Probe) claim() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: probeName},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &p.Class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: p.Size}}},
	}
}

func (p Probe) service() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: probeName},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": probeName},
			Ports: []corev1.ServicePort{{Name: "http", Port: probePort, TargetPort: intstr.FromInt32(probePort)}}},
	}
}

func (p Probe) pod() *corev1.Pod {
	id := int64(65534)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: probeName, Labels: map[string]string{"app": probeName}},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{FSGroup: &id},
			// A node that is told to be gone (self-test) keeps the probes that are pinned to it.
			Tolerations: []corev1.Toleration{{Key: corev1.TaintNodeOutOfService, Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: probeName, Image: image.Probe,
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: probePort}},
			}},
		},
	}
	if p.Node != "" {
		pod.Spec.NodeSelector = map[string]string{corev1.LabelHostname: p.Node}
	}
	if p.Class != "" {
		pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: probeName}}}}
	}
	return pod
}
