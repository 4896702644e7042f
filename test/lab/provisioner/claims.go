package provisioner

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/test/lab/volume"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// syncClaim makes or grows the claim's volume.
func (s *site) syncClaim(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	claim, err := s.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	pv, err := found(s.volumes.Get(volumeName(claim)))
	if err != nil {
		return err
	}
	var class *storagev1.StorageClass
	if claim.Spec.StorageClassName != nil {
		if class, err = found(s.classes.Get(*claim.Spec.StorageClassName)); err != nil {
			return err
		}
	}
	v := judgeClaim(claim, class, pv)
	s.log.Debug("claim judged", "claim", key, "action", v.do, "reason", v.reason)
	switch v.do {
	case refuse:
		s.events.Event(claim, corev1.EventTypeWarning, reasonNotMade, v.reason)
	case provision:
		if err := s.provision(ctx, claim, class); err != nil {
			s.events.Event(claim, corev1.EventTypeWarning, reasonNotMade, err.Error())
			return err
		}
	case grow:
		if err := s.grow(ctx, claim, pv); err != nil {
			s.events.Event(claim, corev1.EventTypeWarning, reasonNotGrown, err.Error())
			return err
		}
	case leave:
	}
	return nil
}

// found turns "there is none" into nil.
func found[T any](obj *T, err error) (*T, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return obj, err
}

func (s *site) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) error {
	began := time.Now()
	request := claim.Spec.Resources.Requests[storageResourceKey]
	name := volumeName(claim)
	bytes, err := s.store.Create(ctx, volume.Spec{
		Name:      name,
		Bytes:     request.Value(),
		Exclusive: class.Provisioner == networkDriver,
		Labels:    map[string]string{siteLabel: s.name, namespaceLabel: claim.Namespace, claimLabel: claim.Name},
	})
	if err != nil {
		return err
	}
	pv := persistentVolume(claim, class, bytes, s.store.Path(name))
	_, err = s.client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{})
	// Made a moment ago, and the watch has not shown it yet.
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make persistent volume %s: %w", name, err)
	}
	s.events.Eventf(claim, corev1.EventTypeNormal, reasonProvisioned, "made volume %s", name)
	s.log.Info("volume made", "claim", claim.Namespace+"/"+claim.Name, "volume", name, "class", class.Name,
		"bytes", bytes, "seconds", time.Since(began).Seconds())
	return nil
}

// grow makes the disk larger, then says so in the volume and the claim. The file system grows while it is used, so
// there is nothing left for the kubelet to do.
func (s *site) grow(ctx context.Context, claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) error {
	request := claim.Spec.Resources.Requests[storageResourceKey]
	bytes, err := s.store.Grow(ctx, pv.Name, request.Value())
	if err != nil {
		return err
	}
	capacity := corev1.ResourceList{storageResourceKey: *resource.NewQuantity(bytes, resource.BinarySI)}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"capacity": capacity}})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("show the new size of persistent volume %s: %w", pv.Name, err)
	}
	patch, err = json.Marshal(map[string]any{"status": map[string]any{"capacity": capacity, "conditions": withoutResizing(claim)}})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().PersistentVolumeClaims(claim.Namespace).
		Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("show the new size of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	s.events.Eventf(claim, corev1.EventTypeNormal, reasonGrown, "grew volume %s to %d bytes", pv.Name, bytes)
	s.log.Info("volume grown", "claim", claim.Namespace+"/"+claim.Name, "volume", pv.Name, "bytes", bytes)
	return nil
}

func withoutResizing(claim *corev1.PersistentVolumeClaim) []corev1.PersistentVolumeClaimCondition {
	kept := []corev1.PersistentVolumeClaimCondition{}
	for _, c := range claim.Status.Conditions {
		if c.Type != corev1.PersistentVolumeClaimResizing && c.Type != corev1.PersistentVolumeClaimFileSystemResizePending {
			kept = append(kept, c)
		}
	}
	return kept
}

// syncVolume deletes a volume that nobody claims any more.
func (s *site) syncVolume(ctx context.Context, name string) error {
	pv, err := found(s.volumes.Get(name))
	if err != nil || pv == nil {
		return err
	}
	yes, reason := judgeDeletion(pv)
	s.log.Debug("volume judged", "volume", name, "delete", yes, "reason", reason)
	if !yes {
		return nil
	}
	if err := s.store.Delete(ctx, name); err != nil {
		s.events.Event(pv, corev1.EventTypeWarning, reasonNotDeleted, err.Error())
		return err
	}
	err = s.client.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete persistent volume %s: %w", name, err)
	}
	s.log.Info("volume deleted", "volume", name, "reason", reason)
	return nil
}

// sweep deletes the site's disks that the cluster knows nothing of: a claim that went while its disk was being made,
// or all of them when the site was made anew. It must see the whole cluster, so it comes after the first listing.
func (s *site) sweep(ctx context.Context) error {
	disks, err := s.store.Find(map[string]string{siteLabel: s.name})
	if err != nil {
		return err
	}
	known, err := s.knownVolumes()
	if err != nil {
		return err
	}
	for _, disk := range disks {
		if known[disk.Name] {
			continue
		}
		if _, err := s.store.Detach(ctx, disk.Name, disk.Holder); err != nil {
			return err
		}
		if err := s.store.Delete(ctx, disk.Name); err != nil {
			return err
		}
		s.log.Info("volume deleted", "volume", disk.Name, "reason", "no claim and no persistent volume is of that name")
	}
	return nil
}

func (s *site) knownVolumes() (map[string]bool, error) {
	known := map[string]bool{}
	volumes, err := s.volumes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	for _, pv := range volumes {
		known[pv.Name] = true
	}
	claims, err := s.claims.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	for _, claim := range claims {
		known[volumeName(claim)] = true
	}
	return known, nil
}
