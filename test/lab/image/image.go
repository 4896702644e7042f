// Package image makes the few images the lab itself needs, each one static program, and puts them into a registry.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/topology"
)

// The lab's own images, as nodes name them.
const (
	Pause = topology.RegistryName + "/lab/pause:1"
	Probe = topology.RegistryName + "/lab/probe:1"
)

// nobody is the user the images run as.
const nobody = "65534"

// PushAll makes the lab's images and puts them into its registry.
func PushAll(ctx context.Context, bin build.Binaries) error {
	for _, i := range []struct{ repository, program string }{{"lab/pause:1", "pause"}, {"lab/probe:1", "probe"}} {
		made, err := ofProgram(bin.Path(i.program), i.program)
		if err != nil {
			return err
		}
		target, err := name.NewTag(topology.RegistryAddress+"/"+i.repository, name.Insecure)
		if err != nil {
			return fmt.Errorf("name image %s: %w", i.program, err)
		}
		if err := remote.Write(target, made, remote.WithContext(ctx)); err != nil {
			return fmt.Errorf("push image %s: %w", i.program, err)
		}
	}
	return nil
}

// ofProgram makes an image that holds nothing but one program. The same program gives the same image.
func ofProgram(path, program string) (v1.Image, error) {
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	header := &tar.Header{Name: program, Mode: 0o755, Size: int64(len(binary)), ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(header); err != nil {
		return nil, fmt.Errorf("pack program: %w", err)
	}
	if _, err := w.Write(binary); err != nil {
		return nil, fmt.Errorf("pack program: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack program: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	})
	if err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	withLayer, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	config, err := withLayer.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint, config.Config.User = []string{"/" + program}, nobody
	return mutate.ConfigFile(withLayer, config)
}
