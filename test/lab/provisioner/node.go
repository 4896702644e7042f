package provisioner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// NodeOptions says where a node's side of lab-network runs.
type NodeOptions struct {
	// Node is the node's name in the cluster.
	Node string
	// KubeletDir is the kubelet's directory, seen as the kubelet sees it.
	KubeletDir string
	Log        *slog.Logger
}

// RunNode serves the node's CSI driver until ctx ends. It must run in the node's mount namespace. It returns an error
// when the kubelet does not take the driver; start it again then.
func RunNode(ctx context.Context, o NodeOptions) error {
	endpoint := filepath.Join(o.KubeletDir, "plugins", networkDriver, "csi.sock")
	drivers, err := listen(ctx, endpoint)
	if err != nil {
		return err
	}
	driver := grpc.NewServer()
	csi.RegisterIdentityServer(driver, identity{})
	csi.RegisterNodeServer(driver, &nodeServer{node: o.Node, log: o.Log})

	// The kubelet asks as soon as it sees this socket, so it comes last.
	registrations, err := listen(ctx, filepath.Join(o.KubeletDir, "plugins_registry", networkDriver+"-reg.sock"))
	if err != nil {
		return errors.Join(err, drivers.Close())
	}
	refused := make(chan error, 1)
	registry := grpc.NewServer()
	registration.RegisterRegistrationServer(registry, &registrar{endpoint: endpoint, refused: refused, log: o.Log})

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return driver.Serve(drivers) })
	group.Go(func() error { return registry.Serve(registrations) })
	group.Go(func() error {
		defer driver.Stop()
		// Gracefully, so that the kubelet has its answer when it was the one who refused.
		defer registry.GracefulStop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-refused:
			return err
		}
	})
	return group.Wait()
}

// listen makes a socket only root can use. One that a killed process left is in the way.
func listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("serve the node's volumes: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("serve the node's volumes: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("serve the node's volumes: %w", err)
	}
	return listener, nil
}

// registrar introduces the driver to the kubelet.
type registrar struct {
	registration.UnimplementedRegistrationServer
	endpoint string
	refused  chan<- error
	log      *slog.Logger
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: networkDriver, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registrar) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.GetPluginRegistered() {
		select {
		case r.refused <- fmt.Errorf("the kubelet does not take the volume driver: %s", status.GetError()):
		default:
		}
		return &registration.RegistrationStatusResponse{}, nil
	}
	r.log.Info("volume driver registered")
	return &registration.RegistrationStatusResponse{}, nil
}

type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: networkDriver, VendorVersion: "1"}, nil
}

func (identity) GetPluginCapabilities(
	context.Context, *csi.GetPluginCapabilitiesRequest,
) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}
