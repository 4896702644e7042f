// Package engine drives whatever builds images on this machine: docker, podman or buildah, by their own commands.
package engine

import (
	"context"
	"fmt"
	"strings"
)

// Build is one build of one image for one architecture.
type Build struct {
	// Context is the directory with the Dockerfile.
	Context string
	// Ref is the name the image gets.
	Ref    string
	Arch   string
	Args   map[string]string
	Labels map[string]string
	// Epoch, when not zero, is the time in seconds that the image and all its files get, so that the same inputs give the same
	// image. It must stay zero where a RUN step makes files whose times mean something.
	Epoch int64
}

// Engine is what the tool needs of an engine. Refs are image names.
type Engine interface {
	Name() string
	// List returns the ids of all images that have a name, by their names.
	List(ctx context.Context) (map[string]string, error)
	// Label is one label of an image that exists.
	Label(ctx context.Context, ref, label string) (string, error)
	Pull(ctx context.Context, ref string) error
	// Import makes an image of one layer from a tar file.
	Import(ctx context.Context, tar, ref string, labels map[string]string) error
	Build(ctx context.Context, b Build) error
	Tag(ctx context.Context, from, to string) error
	// Remove takes a name away, and the image with its last name; or an image without a name, by its id.
	Remove(ctx context.Context, ref string) error
	// WithRoot calls f with a directory that holds the image's files. The directory is gone afterwards.
	WithRoot(ctx context.Context, ref string, f func(dir string) error) error
	// Push sends an image to a registry under the name to. plain allows HTTP and unknown certificates.
	Push(ctx context.Context, ref, to string, plain bool) error
	// PushList sends images of several architectures under one name.
	PushList(ctx context.Context, refs []string, to string, plain bool) error
}

// ID is the id of the image with a name, empty when there is no such image. Listing all images instead of asking for one keeps "there
// is none" apart from the errors that an engine may have.
func ID(ctx context.Context, e Engine, ref string) (string, error) {
	ids, err := e.List(ctx)
	return ids[ref], err
}

// parseList reads lines of "name id".
func parseList(out string) map[string]string {
	ids := map[string]string{}
	for line := range strings.Lines(out) {
		// The columns may be padded, and an image without a name is called <none>:<none>.
		if fields := strings.Fields(line); len(fields) == 2 && !strings.Contains(fields[0], "<none>") {
			ids[fields[0]] = strings.TrimPrefix(fields[1], "sha256:")
		}
	}
	return ids
}

// Detect returns the first engine that works here: docker with a running server and buildx, podman, buildah. A docker client alone
// is common where there is no server, and its builder without buildx knows one architecture only.
func Detect(ctx context.Context, run Runner) (Engine, error) {
	if run.Has("docker") && run.Do(ctx, "docker", "info") == nil && run.Do(ctx, "docker", "buildx", "version") == nil {
		return &remembering{Engine: &docker{run}}, nil
	}
	if run.Has("podman") {
		return &remembering{Engine: &containers{run: run, program: "podman", build: "build"}}, nil
	}
	if run.Has("buildah") {
		return &remembering{Engine: &containers{run: run, program: "buildah", build: "bud"}}, nil
	}
	return nil, ErrNone
}

// ErrNone says that there is nothing to build images with.
var ErrNone = fmt.Errorf("no docker with a running server and buildx, no podman and no buildah: install one of them")
