package provisioner

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/pgspan/pgspan/test/lab/volume"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	eventually(t, socket+" is there", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func startNode(t *testing.T, kubelet string) (registration.RegistrationClient, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() {
		ended <- RunNode(ctx, NodeOptions{Node: "a1", KubeletDir: kubelet, Log: slog.New(slog.DiscardHandler)})
	}()
	return registration.NewRegistrationClient(dial(t, filepath.Join(kubelet, "plugins_registry", networkDriver+"-reg.sock"))), ended
}

func TestKubeletFindsTheDriver(t *testing.T) {
	kubelet := t.TempDir()
	// A killed process left its sockets.
	stale := filepath.Join(kubelet, "plugins", networkDriver, "csi.sock")
	must(t, os.MkdirAll(filepath.Dir(stale), 0o750))
	must(t, os.WriteFile(stale, nil, 0o600))
	registry, ended := startNode(t, kubelet)
	info, err := registry.GetInfo(t.Context(), &registration.InfoRequest{})
	must(t, err)
	if info.GetType() != "CSIPlugin" || info.GetName() != networkDriver {
		t.Errorf("registers as %v", info)
	}
	node := csi.NewNodeClient(dial(t, info.GetEndpoint()))
	got, err := node.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if err != nil || got.GetNodeId() != "a1" {
		t.Errorf("node is %v, %v, want a1", got, err)
	}
	_, err = registry.NotifyRegistrationStatus(t.Context(), &registration.RegistrationStatus{PluginRegistered: false, Error: "version"})
	must(t, err)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("refused by the kubelet, it ended with %v", err)
	}
}

func publishRequest(source, node, target string) *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId: "pvc-1", TargetPath: target,
		PublishContext: map[string]string{metadataPath: source, metadataNode: node},
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
	}
}

func TestPublish(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loop devices and mounts need root")
	}
	ctx := t.Context()
	store, err := volume.Open(ctx, t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, store.Close(context.Background())) })
	_, err = store.Create(ctx, volume.Spec{Name: "pvc-1", Bytes: 1 << 30, Exclusive: true})
	must(t, err)
	kubelet := t.TempDir()
	registry, _ := startNode(t, kubelet)
	info, err := registry.GetInfo(ctx, &registration.InfoRequest{})
	must(t, err)
	node := csi.NewNodeClient(dial(t, info.GetEndpoint()))
	target := filepath.Join(kubelet, "pods", "1", "mount")
	t.Cleanup(func() { _ = unpublish(target) })

	_, err = node.NodePublishVolume(ctx, publishRequest(store.Path("pvc-1"), "a1", target))
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "not mounted") {
		t.Errorf("disk not mounted here: got %v, want a refusal", err)
	}
	path, err := store.Attach(ctx, "pvc-1", "a1")
	must(t, err)
	_, err = node.NodePublishVolume(ctx, publishRequest(path, "a2", target))
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("disk of another node: got %v, want a refusal", err)
	}
	for range 2 {
		_, err = node.NodePublishVolume(ctx, publishRequest(path, "a1", target))
		must(t, err)
	}
	stats, err := node.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: "pvc-1", VolumePath: target})
	if err != nil || stats.GetUsage()[0].GetTotal() != 1<<30 {
		t.Errorf("the pod's folder shows %v, %v, want 1 GiB", stats, err)
	}
	must(t, os.WriteFile(filepath.Join(target, "row"), []byte("row 1"), 0o644))

	// The disk goes elsewhere and comes back while the kubelet still has the old mount.
	must(t, syncPath(target))
	if fenced, err := store.Detach(ctx, "pvc-1", "a1"); !fenced || err != nil {
		t.Errorf("detached from a pod that has it: fenced %v, %v", fenced, err)
	}
	_, err = store.Attach(ctx, "pvc-1", "a1")
	must(t, err)
	_, err = node.NodePublishVolume(ctx, publishRequest(path, "a1", target))
	must(t, err)
	if raw, err := os.ReadFile(filepath.Join(target, "row")); string(raw) != "row 1" || err != nil {
		t.Errorf("published again over a dead mount, it reads %q, %v", raw, err)
	}

	// Not synced by the pod: unpublishing does it, as the last unmount of a disk would.
	must(t, os.WriteFile(filepath.Join(target, "row"), []byte("row 2"), 0o644))
	for range 2 {
		_, err = node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: "pvc-1", TargetPath: target})
		must(t, err)
	}
	if _, err := os.Stat(target); !os.IsNotExist(err) {
		t.Errorf("the pod's folder is still there (%v)", err)
	}
	if fenced, err := store.Detach(ctx, "pvc-1", "a1"); fenced || err != nil {
		t.Errorf("detached after unpublishing: fenced %v, %v", fenced, err)
	}

	path, err = store.Attach(ctx, "pvc-1", "a1")
	must(t, err)
	request := publishRequest(path, "a1", target)
	request.Readonly = true
	_, err = node.NodePublishVolume(ctx, request)
	must(t, err)
	if err := os.WriteFile(filepath.Join(target, "row"), nil, 0o644); err == nil {
		t.Error("a read-only volume could be written")
	}
	if raw, _ := os.ReadFile(filepath.Join(target, "row")); string(raw) != "row 2" {
		t.Errorf("it reads %q, want row 2", raw)
	}
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
