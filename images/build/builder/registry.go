package builder

import (
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// askLimit bounds the question what a registry has. It is asked only to save work.
const askLimit = 10 * time.Second

// holds says whether a registry has, under a name, exactly the images with these ids, one for each architecture. An answer that cannot
// be had, for whatever reason, is no: the engine's own push will say what is wrong.
func holds(ctx context.Context, to string, ids map[string]string, plain bool) bool {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var options []name.Option
	if plain {
		options = append(options, name.Insecure)
	}
	ref, err := name.ParseReference(to, options...)
	if err != nil {
		return false
	}
	got, err := remote.Get(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return false
	}
	if !got.MediaType.IsIndex() {
		image, err := got.Image()
		if err != nil || len(ids) != 1 {
			return false
		}
		for _, id := range ids {
			return is(image, id)
		}
	}
	index, err := got.ImageIndex()
	if err != nil {
		return false
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != len(ids) {
		return false
	}
	for _, part := range manifest.Manifests {
		if part.Platform == nil || ids[part.Platform.Architecture] == "" {
			return false
		}
		image, err := index.Image(part.Digest)
		if err != nil || !is(image, ids[part.Platform.Architecture]) {
			return false
		}
	}
	return true
}

// is compares an image's id, which is the digest of its configuration.
func is(image v1.Image, id string) bool {
	digest, err := image.ConfigName()
	return err == nil && digest.Hex == id
}
