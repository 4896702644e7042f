// Package registry is the lab's image registry: a real one, on the machine's leg of the lab's network, from which every
// node pulls. What was pushed survives a restart of the lab.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/pgspan/pgspan/test/lab/topology"
)

// Serve runs the registry until the context ends. Its files are below dir.
func Serve(ctx context.Context, dir string, logs *log.Logger) error {
	blobs := filepath.Join(dir, "blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)), registry.Logger(logs))
	kept := manifests{dir: filepath.Join(dir, "manifests"), next: handler}
	if err := kept.replay(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", topology.RegistryAddress)
	if err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	server := &http.Server{Handler: kept, ReadHeaderTimeout: 10 * time.Second, ErrorLog: logs}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve registry: %w", err)
	}
	return nil
}
