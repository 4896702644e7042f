package builder

import (
	"context"
	"crypto/rand"
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/images/build/engine"
	"github.com/pgspan/pgspan/images/build/recipe"
	"github.com/pgspan/pgspan/images/build/source"
)

// open makes a builder with this machine's engine, and a name for images that nobody else uses. The images are removed at the end.
func open(t *testing.T, version string) (*Builder, string) {
	t.Helper()
	ctx := context.Background()
	eng, err := engine.Detect(ctx, engine.Runner{})
	if err != nil {
		t.Fatalf("these tests build images: %v", err)
	}
	random := make([]byte, 6)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	unique := "test-" + hex.EncodeToString(random)
	t.Cleanup(func() {
		ids, err := eng.List(ctx)
		if err != nil {
			t.Error(err)
		}
		for ref := range ids {
			if strings.Contains(ref, unique) {
				if err := eng.Remove(ctx, ref); err != nil {
					t.Error(err)
				}
			}
		}
	})
	dir := t.TempDir()
	return &Builder{
		Engine: eng,
		Tree:   source.Tree{Dir: dir, Version: version, Revision: "c0ffee", Time: time.Unix(1_700_000_000, 0).UTC()},
		Dist:   filepath.Join(dir, "dist"),
		RootFS: filepath.Join(dir, "rootfs"),
		Say:    t.Logf,
	}, unique
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// agents lays down a source tree with one small program and the real image's directory.
func agents(t *testing.T, b *Builder, unique string) recipe.Image {
	t.Helper()
	write(t, filepath.Join(b.Tree.Dir, "go.mod"), "module github.com/pgspan/pgspan\n\ngo 1.26.0\n")
	write(t, filepath.Join(b.Tree.Dir, "agents/seed/main.go"), "package main\n\nvar version string\n\nfunc main() { println(version) }\n")
	write(t, filepath.Join(b.Tree.Dir, "agents/kubectl-pgspan/main.go"), "package main\n\nfunc main() {}\n")
	if err := os.CopyFS(filepath.Join(b.Tree.Dir, "images/agents"), os.DirFS("../../agents")); err != nil {
		t.Fatal(err)
	}
	return recipe.Image{
		Name: unique, Repository: "pgspan-test/" + unique, Dir: "images/agents", Arches: []string{"amd64", "arm64"}, Programs: true,
	}
}

func id(t *testing.T, b *Builder, ref string) string {
	t.Helper()
	found, err := engine.ID(t.Context(), b.Engine, ref)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func build(t *testing.T, b *Builder, image recipe.Image) []Built {
	t.Helper()
	built, err := b.Build(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func TestTwoBuildsOfOneCommitGiveOneImage(t *testing.T) {
	first, unique := open(t, "v1.2.3")
	image := agents(t, first, unique)
	want := map[string]string{}
	for _, built := range build(t, first, image) {
		want[built.Arch] = id(t, first, built.Ref)
		if err := first.Engine.Remove(t.Context(), built.Ref); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Engine.Remove(t.Context(), image.Refs("localhost", "v1.2.3")[0]); err != nil {
		t.Fatal(err)
	}

	// Another directory, another day, another umask.
	defer syscall.Umask(syscall.Umask(0o077))
	second, _ := open(t, "v1.2.3")
	agents(t, second, unique)
	for _, built := range build(t, second, image) {
		if got := id(t, second, built.Ref); got == "" || got != want[built.Arch] {
			t.Errorf("%s: got image %q, want %q", built.Arch, got, want[built.Arch])
		}
	}
	if want["amd64"] == want["arm64"] {
		t.Errorf("both architectures are image %s", want["amd64"])
	}

	second.Tree.Version = "v1.2.4"
	for _, built := range build(t, second, image) {
		if got := id(t, second, built.Ref); got == want[built.Arch] {
			t.Errorf("%s: another version is the same image", built.Arch)
		}
	}
}

func TestAgentsImageHoldsTheProgramsOfItsArchitecture(t *testing.T) {
	b, unique := open(t, "v1")
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, built := range build(t, b, agents(t, b, unique)) {
		err := b.Engine.WithRoot(t.Context(), built.Ref, func(dir string) error {
			bin := filepath.Join(dir, "usr/local/bin")
			names, err := os.ReadDir(bin)
			if err != nil {
				return err
			}
			if len(names) != 1 || names[0].Name() != "seed" {
				t.Errorf("%s: programs: got %v, want seed alone", built.Arch, names)
			}
			program, err := elf.Open(filepath.Join(bin, "seed"))
			if err != nil {
				return err
			}
			defer program.Close()
			if program.Machine != machines[built.Arch] {
				t.Errorf("%s: got a program for %v", built.Arch, program.Machine)
			}
			if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
				t.Errorf("%s: imported libraries: got %v, %v; want none", built.Arch, libraries, err)
			}
			info, err := os.Stat(filepath.Join(bin, "seed"))
			if err != nil {
				return err
			}
			if got, want := info.Mode().Perm(), os.FileMode(0o755); got != want {
				t.Errorf("%s: mode: got %v, want %v", built.Arch, got, want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// data is an image of one file, which does not carry its version.
func data(t *testing.T, b *Builder, unique, content string) recipe.Image {
	t.Helper()
	dir := filepath.Join(b.Tree.Dir, "images/data")
	write(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\nCOPY data /data\nUSER 999:999\nSTOPSIGNAL SIGINT\n")
	write(t, filepath.Join(dir, "data"), content)
	return recipe.Image{Name: unique, Repository: "pgspan-test/" + unique, Dir: "images/data"}
}

func TestUnchangedContentIsNotBuiltAgain(t *testing.T) {
	b, unique := open(t, "v1")
	image := data(t, b, unique, "one")
	said := 0
	b.Say = func(string, ...any) { said++ }
	first := build(t, b, image)[0]
	content, stamped := id(t, b, first.Content), id(t, b, first.Ref)
	if said == 0 {
		t.Fatal("nothing was said about the first build")
	}

	said = 0
	build(t, b, image)
	if got := id(t, b, first.Ref); said != 0 || got != stamped {
		t.Errorf("same version again: got image %s and %d lines, want %s and silence", got, said, stamped)
	}

	b.Tree.Version = "v2"
	second := build(t, b, image)[0]
	if got := id(t, b, second.Content); got != content || said != 0 {
		t.Errorf("next version: got content %s and %d lines, want %s and silence", got, said, content)
	}
	got, err := b.Engine.Label(t.Context(), second.Ref, "org.opencontainers.image.version")
	if err != nil || got != "v2" {
		t.Errorf("version label: got %q, %v; want v2", got, err)
	}

	data(t, b, unique, "two")
	third := build(t, b, image)[0]
	if third.Content == first.Content || said == 0 {
		t.Errorf("changed content was not built")
	}
	if id(t, b, first.Content) != "" {
		t.Errorf("the old content is still there")
	}
	if id(t, b, first.Ref) == "" {
		t.Errorf("the image of a released version was removed")
	}
}

func TestTooLargeImageIsRefusedAndForgotten(t *testing.T) {
	b, unique := open(t, "v1")
	image := data(t, b, unique, strings.Repeat("x", 2*recipe.MB))
	image.Limit = 1 * recipe.MB
	for range 2 { // also when it was built before
		_, err := b.Build(t.Context(), image)
		if err == nil || !strings.Contains(err.Error(), "is 2 MB, and may be 1 MB") {
			t.Fatalf("got %v, want the size and the limit", err)
		}
	}
	ids, err := b.Engine.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for ref := range ids {
		if strings.Contains(ref, unique) {
			t.Errorf("%s is still there", ref)
		}
	}
}
