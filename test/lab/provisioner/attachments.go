package provisioner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// syncAttachment does what Kubernetes' attach-detach controller wishes for a node and a disk.
func (s *site) syncAttachment(ctx context.Context, name string) error {
	va, err := found(s.attachments.Get(name))
	if err != nil || va == nil || va.Spec.Attacher != networkDriver || va.Spec.Source.PersistentVolumeName == nil {
		return err
	}
	disk := *va.Spec.Source.PersistentVolumeName
	if va.DeletionTimestamp != nil {
		return s.detach(ctx, va, disk)
	}
	return s.attach(ctx, va, disk)
}

func (s *site) attach(ctx context.Context, va *storagev1.VolumeAttachment, disk string) error {
	// Before anything is mounted: without the finalizer the wish could be gone before the disk is taken away again.
	// The change brings the object here once more, as it is then.
	if !slices.Contains(va.Finalizers, attachedFinalizer) {
		return s.setFinalizers(ctx, va, append(slices.Clone(va.Finalizers), attachedFinalizer))
	}
	path, err := s.store.Attach(ctx, disk, va.Spec.NodeName)
	if err != nil {
		status := storagev1.VolumeAttachmentStatus{
			AttachError: &storagev1.VolumeError{Time: metav1.Now(), Message: err.Error()},
		}
		if statusErr := s.setStatus(ctx, va, status); statusErr != nil {
			return fmt.Errorf("%w (and could not tell: %w)", err, statusErr)
		}
		return err
	}
	metadata := map[string]string{metadataPath: path, metadataNode: va.Spec.NodeName}
	if va.Status.Attached && va.Status.AttachmentMetadata[metadataPath] == path {
		return nil
	}
	if err := s.setStatus(ctx, va, storagev1.VolumeAttachmentStatus{Attached: true, AttachmentMetadata: metadata}); err != nil {
		return err
	}
	s.log.Info("volume attached", "volume", disk, "node", va.Spec.NodeName)
	return nil
}

func (s *site) detach(ctx context.Context, va *storagev1.VolumeAttachment, disk string) error {
	if !slices.Contains(va.Finalizers, attachedFinalizer) {
		return nil
	}
	fenced, err := s.store.Detach(ctx, disk, va.Spec.NodeName)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(va.Finalizers), func(f string) bool { return f == attachedFinalizer })
	if err := s.setFinalizers(ctx, va, rest); err != nil {
		return err
	}
	s.recheck(disk)
	if fenced {
		// The node, or a process that copied the machine's mounts while the disk was there.
		s.log.Warn("volume detached by force, somebody still had it mounted", "volume", disk, "node", va.Spec.NodeName)
		return nil
	}
	s.log.Info("volume detached", "volume", disk, "node", va.Spec.NodeName)
	return nil
}

// setFinalizers replaces the list only if the object is still the one that was judged.
func (s *site) setFinalizers(ctx context.Context, va *storagev1.VolumeAttachment, finalizers []string) error {
	meta := map[string]any{"finalizers": finalizers, "resourceVersion": va.ResourceVersion}
	if err := s.patchAttachment(ctx, va, map[string]any{"metadata": meta}); err != nil {
		return fmt.Errorf("set the finalizers of volume attachment %s: %w", va.Name, err)
	}
	return nil
}

func (s *site) setStatus(ctx context.Context, va *storagev1.VolumeAttachment, status storagev1.VolumeAttachmentStatus) error {
	change := map[string]any{"attached": status.Attached, "attachError": status.AttachError, "attachmentMetadata": status.AttachmentMetadata}
	if err := s.patchAttachment(ctx, va, map[string]any{"status": change}, "status"); err != nil {
		return fmt.Errorf("set the status of volume attachment %s: %w", va.Name, err)
	}
	return nil
}

func (s *site) patchAttachment(ctx context.Context, va *storagev1.VolumeAttachment, change map[string]any, part ...string) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = s.client.StorageV1().VolumeAttachments().Patch(ctx, va.Name, types.MergePatchType, patch, metav1.PatchOptions{}, part...)
	// Deleted meanwhile: nothing is left to tell.
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
