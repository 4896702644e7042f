package provisioner

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type action string

const (
	leave     action = "leave"
	refuse    action = "refuse"
	provision action = "provision"
	grow      action = "grow"
)

// verdict is what to do with a claim, and why.
type verdict struct {
	do     action
	reason string
}

// volumeName is the name of the claim's PersistentVolume and of its disk. A claim that is made anew under the same
// name has another.
func volumeName(claim *corev1.PersistentVolumeClaim) string {
	return volumeNamePrefix + string(claim.UID)
}

// judgeClaim decides from the claim, its class (nil: there is none) and its volume (nil: there is none).
func judgeClaim(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, pv *corev1.PersistentVolume) verdict {
	if claim.DeletionTimestamp != nil {
		return verdict{leave, "the claim is being deleted"}
	}
	if claim.Spec.VolumeName != "" {
		return judgeGrowth(claim, pv)
	}
	// Kubernetes writes this when it is our turn: at once, or after the first pod has been given a node.
	if !ours(claim.Annotations[annProvisioner]) {
		return verdict{leave, "the claim is not, or not yet, for this provisioner"}
	}
	if pv != nil {
		return verdict{leave, "the volume is made and waits to be bound"}
	}
	if class == nil {
		return verdict{leave, "the storage class is not there"}
	}
	late := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	node := claim.Annotations[annSelectedNode]
	if late && node == "" {
		return verdict{leave, "no pod has been given a node yet"}
	}
	if class.Provisioner == localProvisioner && node == "" {
		return verdict{refuse, "a disk in a node needs a class with volumeBindingMode WaitForFirstConsumer"}
	}
	if reason := impossible(claim); reason != "" {
		return verdict{refuse, reason}
	}
	return verdict{provision, "the claim has no volume"}
}

// impossible says why no disk can be what the claim asks for.
func impossible(claim *corev1.PersistentVolumeClaim) string {
	spec := claim.Spec
	if spec.VolumeMode != nil && *spec.VolumeMode == corev1.PersistentVolumeBlock {
		return "block devices are not offered, only file systems"
	}
	many := func(m corev1.PersistentVolumeAccessMode) bool {
		return m != corev1.ReadWriteOnce && m != corev1.ReadWriteOncePod
	}
	if slices.ContainsFunc(spec.AccessModes, many) {
		return "a disk is for one node at a time: use ReadWriteOnce or ReadWriteOncePod"
	}
	if spec.Selector != nil {
		return "a volume is made new, so a selector cannot choose it"
	}
	if spec.DataSource != nil || spec.DataSourceRef != nil {
		return "a volume is made empty; a data source is not offered"
	}
	return ""
}

func judgeGrowth(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) verdict {
	if pv == nil || !ours(pv.Annotations[annProvisionedBy]) || pv.Name != volumeName(claim) {
		return verdict{leave, "the volume is not of this provisioner"}
	}
	if claim.Status.Phase != corev1.ClaimBound {
		return verdict{leave, "the claim is not bound yet"}
	}
	want, has, shown := claim.Spec.Resources.Requests[storageResourceKey], pv.Spec.Capacity[storageResourceKey],
		claim.Status.Capacity[storageResourceKey]
	if want.Cmp(has) <= 0 && has.Cmp(shown) == 0 {
		return verdict{leave, "the volume is as large as was asked for"}
	}
	return verdict{grow, fmt.Sprintf("the volume has %s, the claim shows %s and asks for %s", has.String(), shown.String(), want.String())}
}

// judgeDeletion says whether the volume's disk is to be deleted: nobody claims it any more, and its class said so.
func judgeDeletion(pv *corev1.PersistentVolume) (bool, string) {
	switch {
	case !ours(pv.Annotations[annProvisionedBy]):
		return false, "the volume is not of this provisioner"
	case pv.DeletionTimestamp != nil:
		return false, "the volume is being deleted already"
	case pv.Status.Phase != corev1.VolumeReleased:
		return false, "the volume is claimed"
	case pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete:
		return false, "the volume is to be kept"
	}
	return true, "the claim is gone"
}

// persistentVolume describes a disk that was made for the claim.
func persistentVolume(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, bytes int64, path string) *corev1.PersistentVolume {
	mode, reclaim := corev1.PersistentVolumeFilesystem, corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		reclaim = *class.ReclaimPolicy
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        volumeName(claim),
			Annotations: map[string]string{annProvisionedBy: class.Provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{storageResourceKey: *resource.NewQuantity(bytes, resource.BinarySI)},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              class.Name,
			VolumeMode:                    &mode,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
		},
	}
	if class.Provisioner == networkDriver {
		pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: networkDriver, VolumeHandle: pv.Name}
		return pv
	}
	pv.Spec.Local = &corev1.LocalVolumeSource{Path: path}
	pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: hostnameLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{claim.Annotations[annSelectedNode]},
		}}}},
	}}
	return pv
}
