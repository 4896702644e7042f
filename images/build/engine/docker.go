package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// docker is Docker with BuildKit.
type docker struct{ run Runner }

func (d *docker) Name() string { return "docker" }

func (d *docker) List(ctx context.Context) (map[string]string, error) {
	out, err := d.run.Output(ctx, "docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
	ids := parseList(out)
	for ref, id := range ids {
		// Docker leaves its own registry out of a name.
		if first, _, _ := strings.Cut(ref, "/"); !strings.ContainsAny(first, ".:") && first != "localhost" {
			library := ""
			if !strings.Contains(ref, "/") {
				library = "library/"
			}
			ids["docker.io/"+library+ref] = id
		}
	}
	return ids, err
}

func (d *docker) Label(ctx context.Context, ref, label string) (string, error) {
	return d.run.Output(ctx, "docker", "image", "inspect", "--format", fmt.Sprintf("{{index .Config.Labels %q}}", label), ref)
}

func (d *docker) Pull(ctx context.Context, ref string) error {
	return d.run.Do(ctx, "docker", "pull", "--quiet", ref)
}

func (d *docker) Import(ctx context.Context, tar, ref string, labels map[string]string) error {
	args := []string{"import", "--change", `CMD ["/bin/sh"]`}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		args = append(args, "--change", fmt.Sprintf("LABEL %s=%s", name, labels[name]))
	}
	return d.run.Do(ctx, "docker", append(args, tar, ref)...)
}

func (d *docker) Build(ctx context.Context, b Build) error {
	args := []string{"build", "--no-cache", "--provenance=false", "--tag", b.Ref, "--platform", "linux/" + b.Arch}
	if b.Epoch != 0 {
		// BuildKit takes the image's time from here. The times of copied files are those of the context.
		args = append(args, "--build-arg", "SOURCE_DATE_EPOCH="+strconv.FormatInt(b.Epoch, 10))
	}
	return d.run.Do(ctx, "docker", append(append(args, settings(b)...), b.Context)...)
}

func (d *docker) Tag(ctx context.Context, from, to string) error {
	return d.run.Do(ctx, "docker", "tag", from, to)
}

func (d *docker) Remove(ctx context.Context, ref string) error {
	return d.run.Do(ctx, "docker", "rmi", ref)
}

func (d *docker) WithRoot(ctx context.Context, ref string, f func(dir string) error) error {
	return exported(ctx, d.run, "docker", ref, f)
}

// exported unpacks an image into a temporary directory, for engines that do not mount one for us. Device nodes are left
// out, so that this works without root.
func exported(ctx context.Context, run Runner, program, ref string, f func(dir string) error) (err error) {
	container, err := run.Output(ctx, program, "create", ref, "/none")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, run.Do(context.Background(), program, "rm", container))
	}()
	dir, err := os.MkdirTemp("", "pgspan-image-")
	if err != nil {
		return fmt.Errorf("make a directory for the image's files: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	export := exec.CommandContext(ctx, program, "export", container)
	unpack := exec.CommandContext(ctx, "tar", "--extract", "--numeric-owner", "--preserve-permissions", "--exclude=dev/*", "--directory", dir)
	if unpack.Stdin, err = export.StdoutPipe(); err != nil {
		return fmt.Errorf("join export and tar: %w", err)
	}
	if err := export.Start(); err != nil {
		return fmt.Errorf("%s export: %w", program, err)
	}
	out, unpackErr := unpack.CombinedOutput()
	if err := errors.Join(unpackErr, export.Wait()); err != nil {
		return fmt.Errorf("unpack %s: %w\n%s", ref, err, out)
	}
	return f(dir)
}

func (d *docker) Push(ctx context.Context, ref, to string, plain bool) error {
	if err := d.run.Do(ctx, "docker", "tag", ref, to); err != nil {
		return err
	}
	err := d.run.Do(ctx, "docker", "push", "--quiet", to)
	if err != nil && plain {
		return fmt.Errorf("%w\ndocker decides itself which registries may be plain HTTP: add %s to insecure-registries in its daemon.json",
			err, strings.SplitN(to, "/", 2)[0])
	}
	return err
}

func (d *docker) PushList(ctx context.Context, refs []string, to string, plain bool) error {
	create := []string{"manifest", "create"}
	push := []string{"manifest", "push", "--purge"}
	if plain {
		create, push = append(create, "--insecure"), append(push, "--insecure")
	}
	create = append(create, to)
	for n, ref := range refs {
		// A list is put together in the registry, so every part needs a name there.
		part := fmt.Sprintf("%s-part%d", to, n)
		if err := d.Push(ctx, ref, part, plain); err != nil {
			return err
		}
		create = append(create, part)
	}
	if err := d.run.Do(ctx, "docker", create...); err != nil {
		return err
	}
	return d.run.Do(ctx, "docker", append(push, to)...)
}
