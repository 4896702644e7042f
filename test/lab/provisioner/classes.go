package provisioner

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// LocalClass is the StorageClass of disks in one node; it is the default.
	LocalClass = "lab-local"
	// NetworkClass is the StorageClass of disks that move between the nodes of a site.
	NetworkClass = "lab-network"

	localProvisioner = "local.lab.pgspan"
	networkDriver    = "network.lab.pgspan"
)

const (
	annDefaultClass    = "storageclass.kubernetes.io/is-default-class"
	annProvisioner     = "volume.kubernetes.io/storage-provisioner"
	annSelectedNode    = "volume.kubernetes.io/selected-node"
	annProvisionedBy   = "pv.kubernetes.io/provisioned-by"
	attachedFinalizer  = "lab.pgspan/attached"
	metadataPath       = "path"
	metadataNode       = "node"
	siteLabel          = "site"
	namespaceLabel     = "namespace"
	claimLabel         = "claim"
	defaultNamespace   = "default"
	volumeNamePrefix   = "pvc-"
	reasonProvisioned  = "ProvisioningSucceeded"
	reasonNotMade      = "ProvisioningFailed"
	reasonGrown        = "VolumeResizeSuccessful"
	reasonNotGrown     = "VolumeResizeFailed"
	reasonNotDeleted   = "VolumeFailedDelete"
	eventSource        = "lab-provisioner"
	hostnameLabel      = corev1.LabelHostname
	storageResourceKey = corev1.ResourceStorage
)

func ours(provisioner string) bool {
	return provisioner == localProvisioner || provisioner == networkDriver
}

// ensureClasses makes the StorageClasses and the CSIDriver where they are missing. What is there stays as it is: most
// of a class cannot be changed anyway.
func ensureClasses(ctx context.Context, client kubernetes.Interface) error {
	for _, class := range storageClasses() {
		_, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make storage class %s: %w", class.Name, err)
		}
	}
	_, err := client.StorageV1().CSIDrivers().Create(ctx, csiDriver(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make CSI driver %s: %w", networkDriver, err)
	}
	return nil
}

func storageClasses() []*storagev1.StorageClass {
	var (
		reclaim   = corev1.PersistentVolumeReclaimDelete
		late      = storagev1.VolumeBindingWaitForFirstConsumer
		immediate = storagev1.VolumeBindingImmediate
		grows     = true
	)
	return []*storagev1.StorageClass{{
		ObjectMeta:           metav1.ObjectMeta{Name: LocalClass, Annotations: map[string]string{annDefaultClass: "true"}},
		Provisioner:          localProvisioner,
		ReclaimPolicy:        &reclaim,
		VolumeBindingMode:    &late,
		AllowVolumeExpansion: &grows,
	}, {
		ObjectMeta:           metav1.ObjectMeta{Name: NetworkClass},
		Provisioner:          networkDriver,
		ReclaimPolicy:        &reclaim,
		VolumeBindingMode:    &immediate,
		AllowVolumeExpansion: &grows,
	}}
}

func csiDriver() *storagev1.CSIDriver {
	attach, noInfo, fsGroup := true, false, storagev1.FileFSGroupPolicy
	return &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: networkDriver},
		Spec: storagev1.CSIDriverSpec{
			AttachRequired:       &attach,
			PodInfoOnMount:       &noInfo,
			FSGroupPolicy:        &fsGroup,
			VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent},
		},
	}
}
