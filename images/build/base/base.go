// Package base provides the Debian base images: pulled where there is a registry, made by mmdebstrap where there is none.
package base

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/images/build/engine"
	"github.com/pgspan/pgspan/images/build/recipe"
)

// label carries the inputs' hash of a base image that was made here.
const label = "io.pgspan.inputs"

// pullLimit bounds the question whether there is a registry.
const pullLimit = 3 * time.Minute

// Bases finds or makes base images.
type Bases struct {
	Engine engine.Engine
	Run    engine.Runner
	// Repository is where base images are pulled from ("docker.io/library/debian").
	Repository string
	// Cache is the directory that keeps the files made by mmdebstrap.
	Cache string
	// Refresh pulls or makes again what is there already.
	Refresh bool
	// Say gets one line for each thing that takes time.
	Say func(format string, args ...any)

	done    map[string]string
	mirrors *MirrorSet
}

// Ensure returns the name of an image of a Debian suite that the engine has in its store.
func (b *Bases) Ensure(ctx context.Context, suite string) (string, error) {
	if ref, ok := b.done[suite]; ok {
		return ref, nil
	}
	ref, err := b.ensure(ctx, suite)
	if err != nil {
		return "", fmt.Errorf("base image debian:%s-slim: %w", suite, err)
	}
	if b.done == nil {
		b.done = map[string]string{}
	}
	b.done[suite] = ref
	return ref, nil
}

func (b *Bases) ensure(ctx context.Context, suite string) (string, error) {
	if b.mirrors == nil {
		found, err := Mirrors(ctx, b.Run)
		if err != nil {
			return "", err
		}
		b.mirrors = &found
	}
	mirrors := *b.mirrors
	inputs := recipe.NewInputs()
	for _, arg := range bootstrapArgs(suite, "", mirrors) {
		inputs.Add("arg", arg)
	}
	sum := inputs.Sum()
	remote := fmt.Sprintf("%s:%s-slim", b.Repository, suite)
	local := fmt.Sprintf("localhost/debian:%s-slim", suite)

	if !b.Refresh {
		if id, err := engine.ID(ctx, b.Engine, remote); err != nil || id != "" {
			return remote, err
		}
		id, err := engine.ID(ctx, b.Engine, local)
		if err != nil {
			return "", err
		}
		if id != "" {
			made, err := b.Engine.Label(ctx, local, label)
			if err != nil || made == sum {
				return local, err
			}
		}
	}
	pullErr := b.pull(ctx, remote)
	if pullErr == nil {
		return remote, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	tar, err := b.bootstrap(ctx, suite, sum, mirrors)
	if err != nil {
		return "", errors.Join(pullErr, err)
	}
	return local, b.Engine.Import(ctx, tar, local, map[string]string{label: sum})
}

func (b *Bases) pull(ctx context.Context, ref string) error {
	ctx, cancel := context.WithTimeout(ctx, pullLimit)
	defer cancel()
	return b.Engine.Pull(ctx, ref)
}

// bootstrap returns a tar file of the suite's smallest system, made now if the cache has none from the same inputs.
func (b *Bases) bootstrap(ctx context.Context, suite, sum string, mirrors MirrorSet) (string, error) {
	path := filepath.Join(b.Cache, fmt.Sprintf("debian-%s-%s.tar", suite, sum))
	if _, err := os.Stat(path); err == nil && !b.Refresh {
		return path, nil
	}
	if !b.Run.Has("mmdebstrap") {
		return "", fmt.Errorf("no registry, and no mmdebstrap to make it with")
	}
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	b.Say("no registry for debian:%s-slim: making it with mmdebstrap (about half a minute, once)", suite)
	part := path + ".part.tar"
	if err := b.Run.Do(ctx, "mmdebstrap", bootstrapArgs(suite, part, mirrors)...); err != nil {
		return "", err
	}
	if err := os.Rename(part, path); err != nil {
		return "", fmt.Errorf("keep the new base: %w", err)
	}
	return path, nil
}
