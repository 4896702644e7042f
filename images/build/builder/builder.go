// Package builder makes images and what is made from them: it joins the recipe, the source tree, the base images and the engine.
package builder

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/pgspan/pgspan/images/build/base"
	"github.com/pgspan/pgspan/images/build/engine"
	"github.com/pgspan/pgspan/images/build/recipe"
	"github.com/pgspan/pgspan/images/build/source"
)

// The engine's own store is "localhost" in image names. Contents are kept beside the images, under names of their own.
const (
	store    = "localhost"
	contents = "localhost/pgspan-content/"
	// inputsLabel carries the hash of everything that an image was made from.
	inputsLabel = "io.pgspan.inputs"
)

// Builder builds images from one source tree with one engine.
type Builder struct {
	Engine engine.Engine
	Tree   source.Tree
	Bases  *base.Bases
	// Dist is the directory for what is built besides images: contexts and bills of materials.
	Dist string
	// RootFS is the directory of root file systems for unit tests.
	RootFS string
	// Say gets one line for each thing done.
	Say func(format string, args ...any)
}

// Built is one image in the engine's store.
type Built struct {
	recipe.Image
	Arch string
	// Ref is its name with the version.
	Ref string
	// Content is the name under which it is kept without a version. It is the same image for images that carry the version in
	// their content.
	Content string
}

// Build makes an image for every architecture it is for, the machine's own first. What is there already from the same inputs
// is left alone.
func (b *Builder) Build(ctx context.Context, image recipe.Image) ([]Built, error) {
	arches := image.Arches
	if len(arches) == 0 {
		arches = []string{runtime.GOARCH}
	}
	contextDir := filepath.Join(b.Tree.Dir, image.Dir)
	if image.Programs {
		contextDir = filepath.Join(b.Dist, "images", image.Name)
		if err := b.Tree.BuildPrograms(ctx, image.Dir, contextDir, arches); err != nil {
			return nil, fmt.Errorf("%s: %w", image.Name, err)
		}
	}
	var all []Built
	for _, arch := range arches {
		built, err := b.one(ctx, image, contextDir, arch)
		if err != nil {
			return nil, fmt.Errorf("%s for %s: %w", image.Name, arch, err)
		}
		all = append(all, built)
	}
	// An image of several architectures has the machine's own under its plain name.
	for _, built := range all {
		if built.Arch == runtime.GOARCH {
			for _, ref := range image.Refs(store, b.Tree.Version) {
				if err := b.tag(ctx, built.Ref, ref); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, b.prune(ctx, image, all)
}

// prune removes what was built of an image at other commits, which would otherwise fill the disk at the pace of work. Images of
// released versions stay; so does everything in a registry.
func (b *Builder) prune(ctx context.Context, image recipe.Image, built []Built) error {
	ids, err := b.Engine.List(ctx)
	if err != nil {
		return err
	}
	keep := image.Refs(store, b.Tree.Version)
	for _, made := range built {
		keep = append(keep, made.Ref, made.Content)
	}
	for _, ref := range recipe.Stale(image, slices.Sorted(maps.Keys(ids)), store, contents, keep) {
		if err := b.Engine.Remove(ctx, ref); err != nil {
			return fmt.Errorf("remove an image of an earlier commit: %w", err)
		}
	}
	return nil
}

// tag names an image once more, unless it has that name.
func (b *Builder) tag(ctx context.Context, from, to string) error {
	want, err := engine.ID(ctx, b.Engine, from)
	if err != nil {
		return err
	}
	got, err := engine.ID(ctx, b.Engine, to)
	if err != nil || got == want {
		return err
	}
	return b.Engine.Tag(ctx, from, to)
}

// one makes an image for one architecture. Programs carry the version inside, so their image is built in one step and is the
// same, to the last byte, wherever it is built. A Debian image takes minutes and does not know the version: its content is
// built once per set of inputs, and each version is that content under a new label.
func (b *Builder) one(ctx context.Context, image recipe.Image, contextDir, arch string) (Built, error) {
	built := Built{Image: image, Arch: arch, Ref: image.Refs(store, b.Tree.Version)[0]}
	if len(image.Arches) > 0 {
		built.Ref += "-" + arch
	}
	spec := engine.Build{Context: contextDir, Arch: arch, Args: map[string]string{"TARGETARCH": arch}}
	for name, value := range image.Args {
		spec.Args[name] = value
	}
	baseName := "scratch"
	inputs := recipe.NewInputs()
	if image.Suite != "" {
		var err error
		if baseName, err = b.Bases.Ensure(ctx, image.Suite); err != nil {
			return Built{}, err
		}
		id, err := engine.ID(ctx, b.Engine, baseName)
		if err != nil {
			return Built{}, err
		}
		inputs.Add("base", id)
		spec.Args["BASE"] = baseName
	}
	inputs.AddMap(spec.Args)
	if err := inputs.AddDir(contextDir); err != nil {
		return Built{}, fmt.Errorf("read the context: %w", err)
	}
	labels := b.labels(baseName)
	if image.Programs {
		inputs.AddMap(labels)
		labels[inputsLabel] = inputs.Sum()
		spec.Ref, spec.Labels, spec.Epoch = built.Ref, labels, b.Tree.Time.Unix()
		built.Content = built.Ref
		return built, b.unlessThere(ctx, image, spec, labels[inputsLabel])
	}
	built.Content = contents + image.Name + ":" + inputs.Sum()
	spec.Ref = built.Content
	spec.Labels = map[string]string{inputsLabel: inputs.Sum()}
	if err := b.unlessThere(ctx, image, spec, inputs.Sum()); err != nil {
		return Built{}, err
	}
	return built, b.stamp(ctx, built, labels)
}

// unlessThere builds an image if there is none from these inputs, and checks its size.
func (b *Builder) unlessThere(ctx context.Context, image recipe.Image, spec engine.Build, inputs string) error {
	there, err := b.madeFrom(ctx, spec.Ref, inputs)
	if err != nil || there {
		return err
	}
	b.Say("%s: building for %s", image.Name, spec.Arch)
	start := time.Now()
	if err := b.replace(ctx, spec); err != nil {
		return err
	}
	var size int64
	if err := b.Engine.WithRoot(ctx, spec.Ref, func(dir string) (err error) { size, err = du(dir); return err }); err != nil {
		return err
	}
	if err := image.CheckSize(size); err != nil {
		// It must not be taken for a good one by the next run.
		if rmErr := b.Engine.Remove(ctx, spec.Ref); rmErr != nil {
			return fmt.Errorf("%w (and it could not be removed: %w)", err, rmErr)
		}
		return err
	}
	b.Say("%s: built for %s in %v, %d MB", image.Name, spec.Arch, time.Since(start).Round(time.Second), (size+recipe.MB-1)/recipe.MB)
	return nil
}

// replace builds an image and removes the one that had its name before.
func (b *Builder) replace(ctx context.Context, spec engine.Build) error {
	before, err := engine.ID(ctx, b.Engine, spec.Ref)
	if err != nil {
		return err
	}
	if err := b.Engine.Build(ctx, spec); err != nil || before == "" {
		return err
	}
	ids, err := b.Engine.List(ctx)
	if err != nil || slices.Contains(slices.Collect(maps.Values(ids)), before) {
		return err
	}
	return b.Engine.Remove(ctx, before)
}

func (b *Builder) madeFrom(ctx context.Context, ref, inputs string) (bool, error) {
	id, err := engine.ID(ctx, b.Engine, ref)
	if err != nil || id == "" {
		return false, err
	}
	got, err := b.Engine.Label(ctx, ref, inputsLabel)
	return got == inputs, err
}

// labels are those that say where an image comes from. The time is the commit's: it is the one that all who build agree on.
func (b *Builder) labels(baseName string) map[string]string {
	const oci = "org.opencontainers.image."
	labels := map[string]string{
		oci + "version":   b.Tree.Version,
		oci + "created":   b.Tree.Time.Format(time.RFC3339),
		oci + "base.name": baseName,
	}
	if b.Tree.Revision != "" {
		labels[oci+"revision"] = b.Tree.Revision
	}
	return labels
}

// stamp gives a content the labels of this version.
func (b *Builder) stamp(ctx context.Context, built Built, labels map[string]string) error {
	content, err := engine.ID(ctx, b.Engine, built.Content)
	if err != nil {
		return err
	}
	inputs := recipe.NewInputs()
	inputs.Add("content", content)
	inputs.AddMap(labels)
	labels[inputsLabel] = inputs.Sum()
	there, err := b.madeFrom(ctx, built.Ref, labels[inputsLabel])
	if err != nil || there {
		return err
	}
	dir, err := os.MkdirTemp("", "pgspan-stamp-")
	if err != nil {
		return fmt.Errorf("make an empty context: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM "+built.Content+"\n"), 0o644); err != nil {
		return fmt.Errorf("write the Dockerfile of a label: %w", err)
	}
	return b.replace(ctx, engine.Build{
		Context: dir, Ref: built.Ref, Arch: built.Arch, Labels: labels, Epoch: b.Tree.Time.Unix(),
	})
}

// du is the size of an image's files, each counted once however many names it has.
func du(dir string) (int64, error) {
	var size int64
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if inode, linked := links(info); linked {
			key := strconv.FormatUint(inode, 10)
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		size += info.Size()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure the image: %w", err)
	}
	return size, nil
}
