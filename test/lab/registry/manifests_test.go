package registry

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// start runs a registry on dir as a fresh process would, and returns its address.
func start(t *testing.T, dir string) (string, error) {
	t.Helper()
	handler, err := open(dir, nil)
	if err != nil {
		return "", err
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), nil
}

func mustStart(t *testing.T, dir string) string {
	t.Helper()
	address, err := start(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func tag(t *testing.T, address, rest string) name.Reference {
	t.Helper()
	ref, err := name.NewTag(address+"/"+rest, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	hash, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

func TestImagesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	first := mustStart(t, dir)
	image, newer := randomImage(t), randomImage(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image})
	for rest, write := range map[string]func(name.Reference) error{
		"pgspan/index:1": func(r name.Reference) error { return remote.WriteIndex(r, index) },
		"pgspan/moved:1": func(r name.Reference) error {
			if err := remote.Write(r, image); err != nil {
				return err
			}
			return remote.Write(r, newer)
		},
	} {
		if err := write(tag(t, first, rest)); err != nil {
			t.Fatal(err)
		}
	}

	second := mustStart(t, dir)
	gotIndex, err := remote.Index(tag(t, second, "pgspan/index:1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := digest(t, gotIndex), digest(t, index); got != want {
		t.Errorf("got index %s, want %s", got, want)
	}
	moved, err := remote.Image(tag(t, second, "pgspan/moved:1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := digest(t, moved), digest(t, newer); got != want {
		t.Errorf("got %s behind a tag that was pushed twice, want the newer %s", got, want)
	}
	layers, err := moved.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		content, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		_ = content.Close()
	}
}

func TestDamagedManifestIsNotPassedOver(t *testing.T) {
	dir := t.TempDir()
	if err := remote.Write(tag(t, mustStart(t, dir), "pgspan/x:1"), randomImage(t)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "manifests", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got files %q, %v, want some", files, err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, dir); err == nil || !strings.Contains(err.Error(), files[0]) {
		t.Errorf("got %v, want an error that names %s", err, files[0])
	}
}
