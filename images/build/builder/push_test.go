package builder

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestPushMakesOneNameForAllArchitectures(t *testing.T) {
	var writes atomic.Int64
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			writes.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")

	b, unique := open(t, "v1")
	image := agents(t, b, unique)
	built := build(t, b, image)
	if !PlainByDefault(address) {
		t.Fatalf("%s is not on this machine?", address)
	}
	var digests []string
	for range 2 {
		refs, err := b.Push(t.Context(), built, address, PlainByDefault(address))
		if err != nil {
			t.Fatal(err)
		}
		ref, err := name.ParseReference(refs[0], name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		index, err := remote.Index(ref)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		var arches []string
		for _, part := range manifest.Manifests {
			arches = append(arches, part.Platform.Architecture)
			one, err := index.Image(part.Digest)
			if err != nil {
				t.Fatal(err)
			}
			config, err := one.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			for label, want := range map[string]string{
				"title": "pgspan agents", "version": "v1", "revision": "c0ffee", "licenses": "Apache-2.0", "base.name": "scratch",
				"source": "https://github.com/pgspan/pgspan", "created": "2023-11-14T22:13:20Z",
			} {
				if got := config.Config.Labels["org.opencontainers.image."+label]; got != want {
					t.Errorf("label %s: got %q, want %q", label, got, want)
				}
			}
			if got, want := config.Config.User, "999:999"; got != want {
				t.Errorf("user: got %s, want %s", got, want)
			}
		}
		if got, want := strings.Join(arches, " "), "amd64 arm64"; got != want {
			t.Errorf("architectures: got %s, want %s", got, want)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("two pushes of one image: got %s and %s", digests[0], digests[1])
	}

	before := writes.Load()
	if _, err := b.Push(t.Context(), built, address, true); err != nil || writes.Load() != before {
		t.Errorf("unchanged images: got %d writes, %v; want none", writes.Load()-before, err)
	}
	write(t, filepath.Join(b.Tree.Dir, "agents/seed/main.go"), "package main\n\nfunc main() { println(1) }\n")
	changed := build(t, b, image)
	if _, err := b.Push(t.Context(), changed, address, true); err != nil {
		t.Fatal(err)
	}
	if !holds(t.Context(), image.Refs(address, "v1")[0], map[string]string{
		"amd64": id(t, b, changed[0].Ref), "arm64": id(t, b, changed[1].Ref),
	}, true) {
		t.Error("changed images under the same name were not pushed")
	}
}

func TestPlainByDefault(t *testing.T) {
	tests := []struct {
		registry string
		want     bool
	}{
		{"localhost:5000", true},
		{"127.0.0.1:5000", true},
		{"127.8.9.10", true},
		{"[::1]:5000", true},
		{"198.18.255.1:5000", true},
		{"198.19.0.1:5000/path", true},
		{"198.20.0.1:5000", false},
		{"10.0.0.1:5000", false},
		{"localhost.example.com", false},
		{"ghcr.io", false},
		{"ghcr.io/198.18.0.1", false},
	}
	for _, tt := range tests {
		if got := PlainByDefault(tt.registry); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.registry, got, tt.want)
		}
	}
}
