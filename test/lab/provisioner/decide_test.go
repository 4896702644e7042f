package provisioner

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func class(name string) *storagev1.StorageClass {
	for _, c := range storageClasses() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func storage(size string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
}

// aClaim is one that Kubernetes has given to the class's provisioner, and whose pod has node a1.
func aClaim(className string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "data-0", UID: "0815", ResourceVersion: "1",
			Annotations: map[string]string{annProvisioner: class(className).Provisioner, annSelectedNode: "a1"},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &className,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: storage("1Gi")},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
}

func bound(c *corev1.PersistentVolumeClaim) {
	c.Spec.VolumeName = volumeName(c)
	c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, Capacity: storage("1Gi")}
}

func TestJudgeClaim(t *testing.T) {
	type facts struct {
		claim *corev1.PersistentVolumeClaim
		class *storagev1.StorageClass
		pv    *corev1.PersistentVolume
	}
	now := metav1.Now()
	block := corev1.PersistentVolumeBlock
	immediate := storagev1.VolumeBindingImmediate
	for name, c := range map[string]struct {
		className string
		change    func(*facts)
		want      action
		reason    string
	}{
		"local_claim_with_a_node":           {LocalClass, func(*facts) {}, provision, ""},
		"network_claim":                     {NetworkClass, func(f *facts) { delete(f.claim.Annotations, annSelectedNode) }, provision, ""},
		"pod_has_no_node_yet":               {LocalClass, func(f *facts) { delete(f.claim.Annotations, annSelectedNode) }, leave, "no pod"},
		"not_given_to_us_yet":               {LocalClass, func(f *facts) { delete(f.claim.Annotations, annProvisioner) }, leave, "not yet"},
		"another_provisioner":               {LocalClass, func(f *facts) { f.claim.Annotations[annProvisioner] = "ebs.csi.aws.com" }, leave, "not"},
		"being_deleted":                     {LocalClass, func(f *facts) { f.claim.DeletionTimestamp = &now }, leave, "deleted"},
		"class_gone":                        {LocalClass, func(f *facts) { f.class = nil }, leave, "class"},
		"made_and_not_bound":                {LocalClass, func(f *facts) { f.pv = persistentVolume(f.claim, f.class, 1<<30, "/v") }, leave, "waits"},
		"read_write_many":                   {NetworkClass, func(f *facts) { f.claim.Spec.AccessModes[0] = corev1.ReadWriteMany }, refuse, "one node at a time"},
		"read_only_many":                    {NetworkClass, func(f *facts) { f.claim.Spec.AccessModes[0] = corev1.ReadOnlyMany }, refuse, "one node at a time"},
		"one_pod_only":                      {LocalClass, func(f *facts) { f.claim.Spec.AccessModes[0] = corev1.ReadWriteOncePod }, provision, ""},
		"block_device":                      {LocalClass, func(f *facts) { f.claim.Spec.VolumeMode = &block }, refuse, "block"},
		"selector":                          {LocalClass, func(f *facts) { f.claim.Spec.Selector = &metav1.LabelSelector{} }, refuse, "selector"},
		"data_source_must_not_become_empty": {LocalClass, func(f *facts) { f.claim.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "VolumeSnapshot"} }, refuse, "data source"},
		"local_disk_bound_at_once": {LocalClass, func(f *facts) {
			f.class.VolumeBindingMode = &immediate
			delete(f.claim.Annotations, annSelectedNode)
		}, refuse, "WaitForFirstConsumer"},
		"bound_and_large_enough": {LocalClass, func(f *facts) {
			f.pv = persistentVolume(f.claim, f.class, 1<<30, "/v")
			bound(f.claim)
		}, leave, "as large"},
		"bound_and_larger_than_asked": {LocalClass, func(f *facts) {
			f.pv = persistentVolume(f.claim, f.class, 1<<30, "/v")
			bound(f.claim)
			f.claim.Spec.Resources.Requests = storage("1Mi")
		}, leave, "as large"},
		"request_raised": {LocalClass, func(f *facts) {
			f.pv = persistentVolume(f.claim, f.class, 1<<30, "/v")
			bound(f.claim)
			f.claim.Spec.Resources.Requests = storage("2Gi")
		}, grow, "asks for 2Gi"},
		"killed_between_volume_and_claim": {LocalClass, func(f *facts) {
			f.pv = persistentVolume(f.claim, f.class, 2<<30, "/v")
			bound(f.claim)
			f.claim.Spec.Resources.Requests = storage("2Gi")
		}, grow, "shows 1Gi"},
		"raised_before_it_is_bound": {LocalClass, func(f *facts) {
			f.pv = persistentVolume(f.claim, f.class, 1<<30, "/v")
			bound(f.claim)
			f.claim.Status.Phase = corev1.ClaimPending
			f.claim.Spec.Resources.Requests = storage("2Gi")
		}, leave, "not bound"},
		"raised_on_a_foreign_volume": {LocalClass, func(f *facts) {
			f.pv = persistentVolume(f.claim, f.class, 1<<30, "/v")
			f.pv.Annotations = nil
			bound(f.claim)
			f.claim.Spec.Resources.Requests = storage("2Gi")
		}, leave, "not of this"},
		"bound_and_volume_not_seen_yet": {LocalClass, func(f *facts) { bound(f.claim) }, leave, "not of this"},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts{claim: aClaim(c.className), class: class(c.className)}
			c.change(&f)
			got := judgeClaim(f.claim, f.class, f.pv)
			if got.do != c.want || !strings.Contains(got.reason, c.reason) {
				t.Errorf("got %+v, want %s, %q", got, c.want, c.reason)
			}
		})
	}
}

func TestJudgeDeletion(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		change func(*corev1.PersistentVolume)
		want   bool
	}{
		"claim_gone":    {func(*corev1.PersistentVolume) {}, true},
		"still_claimed": {func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeBound }, false},
		"to_be_kept": {func(pv *corev1.PersistentVolume) {
			pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}, false},
		"somebody_elses":      {func(pv *corev1.PersistentVolume) { pv.Annotations[annProvisionedBy] = "ebs.csi.aws.com" }, false},
		"made_by_hand":        {func(pv *corev1.PersistentVolume) { pv.Annotations = nil }, false},
		"being_deleted":       {func(pv *corev1.PersistentVolume) { pv.DeletionTimestamp = &now }, false},
		"not_yet_looked_at":   {func(pv *corev1.PersistentVolume) { pv.Status.Phase = "" }, false},
		"reclaiming_went_off": {func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeFailed }, false},
	} {
		t.Run(name, func(t *testing.T) {
			pv := persistentVolume(aClaim(LocalClass), class(LocalClass), 1<<30, "/v")
			pv.Status.Phase = corev1.VolumeReleased
			c.change(pv)
			if got, reason := judgeDeletion(pv); got != c.want {
				t.Errorf("got %v (%s), want %v", got, reason, c.want)
			}
		})
	}
}

func TestPersistentVolume(t *testing.T) {
	local := persistentVolume(aClaim(LocalClass), class(LocalClass), 5<<30, "/lab/mounts/pvc-0815/data")
	if local.Name != "pvc-0815" || local.Spec.Local.Path != "/lab/mounts/pvc-0815/data" || local.Spec.CSI != nil {
		t.Errorf("local: %+v", local.Spec)
	}
	term := local.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
	if term.Key != "kubernetes.io/hostname" || len(term.Values) != 1 || term.Values[0] != "a1" {
		t.Errorf("local: bound to %+v, want node a1", term)
	}
	if got := local.Spec.Capacity.Storage().String(); got != "5Gi" {
		t.Errorf("local: capacity %s, want 5Gi", got)
	}
	network := persistentVolume(aClaim(NetworkClass), class(NetworkClass), 1<<30, "/v")
	if network.Spec.CSI == nil || network.Spec.CSI.VolumeHandle != "pvc-0815" || network.Spec.Local != nil || network.Spec.NodeAffinity != nil {
		t.Errorf("network: %+v", network.Spec)
	}
	for _, pv := range []*corev1.PersistentVolume{local, network} {
		if ref := pv.Spec.ClaimRef; ref.Namespace != "shop" || ref.Name != "data-0" || ref.UID != "0815" {
			t.Errorf("%s: for claim %+v", pv.Spec.StorageClassName, ref)
		}
	}
}
