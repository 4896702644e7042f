package provisioner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// nodeServer puts attached disks where the kubelet wants them.
type nodeServer struct {
	csi.UnimplementedNodeServer
	node string
	log  *slog.Logger
}

func (n *nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.node}, nil
}

func (n *nodeServer) NodeGetCapabilities(
	context.Context, *csi.NodeGetCapabilitiesRequest,
) (*csi.NodeGetCapabilitiesResponse, error) {
	stats := &csi.NodeServiceCapability_RPC{Type: csi.NodeServiceCapability_RPC_GET_VOLUME_STATS}
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{
		{Type: &csi.NodeServiceCapability_Rpc{Rpc: stats}},
	}}, nil
}

// NodePublishVolume binds the disk, which the attachment has mounted, to the pod's folder.
func (n *nodeServer) NodePublishVolume(
	_ context.Context, req *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	source, target := req.GetPublishContext()[metadataPath], req.GetTargetPath()
	if holder := req.GetPublishContext()[metadataNode]; holder != n.node {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is attached to node %q, not to %q", req.GetVolumeId(), holder, n.node)
	}
	if source == "" || target == "" {
		return nil, status.Error(codes.InvalidArgument, "the request names no disk or no folder")
	}
	if req.GetVolumeCapability().GetMount() == nil {
		return nil, status.Error(codes.InvalidArgument, "only file systems are offered")
	}
	if err := publish(source, target, req.GetReadonly()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	n.log.Info("volume published", "volume", req.GetVolumeId(), "target", target)
	return &csi.NodePublishVolumeResponse{}, nil
}

func publish(source, target string, readonly bool) error {
	var disk, there unix.Stat_t
	// Only the disk's own file system has this folder, so a mount that did not reach the node is noticed here.
	if err := unix.Stat(source, &disk); err != nil {
		return fmt.Errorf("the disk is not mounted at %s: %w", source, err)
	}
	if err := os.MkdirAll(target, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the pod's folder: %w", err)
	}
	mounted, err := isMounted(target)
	if err != nil {
		return err
	}
	if mounted {
		// Asked for the second time, or what is there was taken from this node and is dead.
		if unix.Stat(target, &there) == nil && there.Dev == disk.Dev {
			return nil
		}
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount what was at %s: %w", target, err)
		}
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the disk to %s: %w", target, err)
	}
	if !readonly {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return errors.Join(fmt.Errorf("make %s read-only: %w", target, err), unix.Unmount(target, unix.MNT_DETACH))
	}
	return nil
}

// NodeUnpublishVolume takes the disk from the pod's folder.
func (n *nodeServer) NodeUnpublishVolume(
	_ context.Context, req *csi.NodeUnpublishVolumeRequest,
) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := unpublish(req.GetTargetPath()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	n.log.Info("volume unpublished", "volume", req.GetVolumeId(), "target", req.GetTargetPath())
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func unpublish(target string) error {
	for {
		mounted, err := isMounted(target)
		if err != nil {
			return err
		}
		if !mounted {
			break
		}
		syncFS(target)
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the pod's folder: %w", err)
	}
	return nil
}

// isMounted asks the table and not the folder: that of a disk which was taken away answers with I/O errors.
func isMounted(path string) (bool, error) {
	found, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	if err != nil {
		return false, fmt.Errorf("read the mount table: %w", err)
	}
	return len(found) > 0, nil
}

// syncFS writes out what the pod left in memory, as the last unmount of a disk does. Here it need not be the last:
// the machine has the disk mounted until it is detached. A dead disk cannot be synced, and need not be.
func syncFS(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.Syncfs(int(f.Fd()))
}

// NodeGetVolumeStats is what the kubelet's metrics show.
func (n *nodeServer) NodeGetVolumeStats(
	_ context.Context, req *csi.NodeGetVolumeStatsRequest,
) (*csi.NodeGetVolumeStatsResponse, error) {
	var st unix.Statfs_t
	err := unix.Statfs(req.GetVolumePath(), &st)
	if errors.Is(err, unix.ENOENT) {
		return nil, status.Error(codes.NotFound, "the volume is not mounted")
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "ask for the space: %v", err)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{
		Unit:      csi.VolumeUsage_BYTES,
		Total:     int64(st.Blocks) * st.Bsize,
		Used:      int64(st.Blocks-st.Bfree) * st.Bsize,
		Available: int64(st.Bavail) * st.Bsize,
	}, {
		Unit:      csi.VolumeUsage_INODES,
		Total:     int64(st.Files),
		Used:      int64(st.Files - st.Ffree),
		Available: int64(st.Ffree),
	}}}, nil
}
