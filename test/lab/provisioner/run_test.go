package provisioner

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/lab/volume"
	"github.com/pgspan/pgspan/test/lab/volume/privatemounts"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestMain(m *testing.M) { os.Exit(privatemounts.Main(m)) }

// newSite runs a provisioner on real disks, for a cluster that is only its API's memory.
func newSite(t *testing.T, before func(*volume.Store)) (*fake.Clientset, *volume.Store) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices and mounts need root")
	}
	dir := t.TempDir()
	store, err := volume.Open(t.Context(), dir)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close(context.Background())) })
	if before != nil {
		before(store)
	}
	client := fake.NewClientset()
	must(t, ensureClasses(t.Context(), client))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, Options{Site: "a", Store: store, Log: slog.New(slog.DiscardHandler)}, client, client)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("serve ended with %v", err)
		}
	})
	return client, store
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ask() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func addClaim(t *testing.T, client *fake.Clientset, className string) *corev1.PersistentVolumeClaim {
	t.Helper()
	claim, err := client.CoreV1().PersistentVolumeClaims("shop").Create(t.Context(), aClaim(className), metav1.CreateOptions{})
	must(t, err)
	return claim
}

func disk(t *testing.T, store *volume.Store, name string) *volume.Volume {
	t.Helper()
	all, err := store.List()
	must(t, err)
	for _, v := range all {
		if v.Name == name {
			return &v
		}
	}
	return nil
}

func TestClaimLivesThroughItsVolume(t *testing.T) {
	client, store := newSite(t, nil)
	ctx := t.Context()
	claim := addClaim(t, client, LocalClass)
	name := volumeName(claim)
	volumes, claims := client.CoreV1().PersistentVolumes(), client.CoreV1().PersistentVolumeClaims("shop")

	var pv *corev1.PersistentVolume
	eventually(t, "the claim gets a volume", func() (ok bool) {
		var err error
		pv, err = volumes.Get(ctx, name, metav1.GetOptions{})
		return err == nil
	})
	if d := disk(t, store, name); d == nil || !d.Mounted || d.Size != 1<<30 || d.Path != pv.Spec.Local.Path {
		t.Errorf("disk: %+v, want 1 GiB at %s", d, pv.Spec.Local.Path)
	}

	bound(claim)
	claim.Spec.Resources.Requests = storage("2500M")
	claim.Status.Conditions = []corev1.PersistentVolumeClaimCondition{
		{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue},
	}
	_, err := claims.Update(ctx, claim, metav1.UpdateOptions{})
	must(t, err)
	// 2500 MB in whole MiB.
	want := int64(2385) << 20
	eventually(t, "the claim shows the new size", func() bool {
		got, err := claims.Get(ctx, claim.Name, metav1.GetOptions{})
		return err == nil && got.Status.Capacity.Storage().Value() == want && len(got.Status.Conditions) == 0
	})
	pv, err = volumes.Get(ctx, name, metav1.GetOptions{})
	must(t, err)
	if got := pv.Spec.Capacity.Storage().Value(); got != want {
		t.Errorf("volume shows %d bytes, want %d", got, want)
	}
	if d := disk(t, store, name); d.Size != want {
		t.Errorf("disk has %d bytes, want %d", d.Size, want)
	}
	if found, err := Find(store, "a", "shop/data-0"); found != name || err != nil {
		t.Errorf("find: got %q, %v, want %q", found, err, name)
	}

	must(t, claims.Delete(ctx, claim.Name, metav1.DeleteOptions{}))
	pv.Status.Phase = corev1.VolumeReleased
	_, err = volumes.Update(ctx, pv, metav1.UpdateOptions{})
	must(t, err)
	eventually(t, "the volume is deleted", func() bool {
		_, err := volumes.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if d := disk(t, store, name); d != nil {
		t.Errorf("the disk is still there: %+v", d)
	}
}

func TestRefusedClaimIsTold(t *testing.T) {
	client, store := newSite(t, nil)
	claim := aClaim(NetworkClass)
	claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
	_, err := client.CoreV1().PersistentVolumeClaims("shop").Create(t.Context(), claim, metav1.CreateOptions{})
	must(t, err)
	eventually(t, "an event says why", func() bool {
		events, err := client.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{})
		return err == nil && len(events.Items) > 0 && strings.Contains(events.Items[0].Message, "ReadWriteOnce")
	})
	if all, err := store.List(); len(all) != 0 || err != nil {
		t.Errorf("disks: %v, %v, want none", all, err)
	}
}

func attachment(name, node string) *storagev1.VolumeAttachment {
	pv := "pvc-0815"
	return &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: storagev1.VolumeAttachmentSpec{
			Attacher: networkDriver, NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &pv},
		},
	}
}

func TestSecondNodeWaitsForTheFirst(t *testing.T) {
	client, store := newSite(t, nil)
	ctx := t.Context()
	addClaim(t, client, NetworkClass)
	eventually(t, "the disk is made", func() bool { return disk(t, store, "pvc-0815") != nil })
	attachments := client.StorageV1().VolumeAttachments()

	_, err := attachments.Create(ctx, attachment("one", "a1"), metav1.CreateOptions{})
	must(t, err)
	var first *storagev1.VolumeAttachment
	eventually(t, "the first node gets the disk", func() bool {
		first, err = attachments.Get(ctx, "one", metav1.GetOptions{})
		return err == nil && first.Status.Attached
	})
	if got := first.Status.AttachmentMetadata; got[metadataNode] != "a1" || got[metadataPath] != store.Path("pvc-0815") {
		t.Errorf("the node is told %v", got)
	}
	_, err = attachments.Create(ctx, attachment("two", "a2"), metav1.CreateOptions{})
	must(t, err)
	eventually(t, "the second node is told who has the disk", func() bool {
		va, err := attachments.Get(ctx, "two", metav1.GetOptions{})
		return err == nil && !va.Status.Attached && va.Status.AttachError != nil &&
			strings.Contains(va.Status.AttachError.Message, "attached to a1")
	})
	if d := disk(t, store, "pvc-0815"); d.Holder != "a1" {
		t.Errorf("held by %q, want a1", d.Holder)
	}

	now := metav1.Now()
	first.DeletionTimestamp = &now
	_, err = attachments.Update(ctx, first, metav1.UpdateOptions{})
	must(t, err)
	eventually(t, "the second node gets the disk", func() bool {
		va, err := attachments.Get(ctx, "two", metav1.GetOptions{})
		return err == nil && va.Status.Attached && va.Status.AttachError == nil
	})
	if d := disk(t, store, "pvc-0815"); d.Holder != "a2" || !d.Mounted {
		t.Errorf("disk: %+v, want it with a2", d)
	}
	first, err = attachments.Get(ctx, "one", metav1.GetOptions{})
	if err == nil && len(first.Finalizers) != 0 {
		t.Errorf("the first node's attachment is kept by %v", first.Finalizers)
	}
}

func TestDiskOfNoClaimIsSwept(t *testing.T) {
	add := func(store *volume.Store) {
		for name, site := range map[string]string{"pvc-lost": "a", "pvc-attached": "a", "pvc-other": "b"} {
			_, err := store.Create(t.Context(), volume.Spec{
				Name: name, Bytes: volume.LeastBytes, Labels: map[string]string{siteLabel: site}, Exclusive: name == "pvc-attached",
			})
			must(t, err)
		}
		_, err := store.Attach(t.Context(), "pvc-attached", "a1")
		must(t, err)
	}
	_, store := newSite(t, add)
	eventually(t, "the lost disks are gone", func() bool {
		return disk(t, store, "pvc-lost") == nil && disk(t, store, "pvc-attached") == nil
	})
	if disk(t, store, "pvc-other") == nil {
		t.Error("another site's disk was deleted")
	}
}

func TestFind(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loop devices and mounts need root")
	}
	store, err := volume.Open(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, store.Close(context.Background())) })
	for _, v := range [][4]string{
		{"1-old", "a", "default", "data-0"}, {"2-new", "a", "default", "data-0"}, {"shop", "a", "shop", "data-0"}, {"b", "b", "default", "data-0"},
	} {
		_, err := store.Create(t.Context(), volume.Spec{Name: v[0], Bytes: volume.LeastBytes, Labels: map[string]string{
			siteLabel: v[1], namespaceLabel: v[2], claimLabel: v[3],
		}})
		must(t, err)
	}
	for name, c := range map[string]struct{ site, claim, want, err string }{
		"namespace_default":  {"a", "data-0", "2-new", ""},
		"namespace_named":    {"a", "shop/data-0", "shop", ""},
		"the_other_site":     {"b", "default/data-0", "b", ""},
		"no_such_claim":      {"a", "data-1", "", "it has default/data-0, shop/data-0"},
		"site_with_no_disks": {"c", "data-0", "", "site c has no volumes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Find(store, c.site, c.claim)
			if got != c.want || (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got %q, %v, want %q, %q", got, err, c.want, c.err)
			}
		})
	}
}
