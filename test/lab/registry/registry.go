// Package registry is the lab's image registry: a real one, on the machine's leg of the lab's network, from which every
// node pulls. What was pushed survives a restart of the lab.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	handler, err := open(dir, logs)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", topology.RegistryAddress)
	if err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: logs}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve registry: %w", err)
	}
	return nil
}

// open makes the registry of what is kept in dir. It logs to nowhere without logs.
func open(dir string, logs *log.Logger) (http.Handler, error) {
	blobs := filepath.Join(dir, "blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	if logs == nil {
		logs = log.New(io.Discard, "", 0)
	}
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)), registry.Logger(logs))
	kept := manifests{dir: filepath.Join(dir, "manifests"), next: handler}
	return kept, kept.replay()
}
