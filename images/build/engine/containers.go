package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// containers is podman or buildah: two programs over one image store, with the same words for most things.
type containers struct {
	run     Runner
	program string
	build   string
}

func (c *containers) Name() string { return c.program }

func (c *containers) List(ctx context.Context) (map[string]string, error) {
	columns := "{{.Name}}:{{.Tag}} {{.ID}}"
	if c.program == "podman" {
		columns = "{{.Repository}}:{{.Tag}} {{.ID}}"
	}
	out, err := c.run.Output(ctx, c.program, "images", "--no-trunc", "--format", columns)
	return parseList(out), err
}

func (c *containers) Label(ctx context.Context, ref, label string) (string, error) {
	if c.program == "podman" {
		return c.run.Output(ctx, "podman", "image", "inspect", "--format", fmt.Sprintf("{{index .Labels %q}}", label), ref)
	}
	return c.run.Output(ctx, "buildah", "inspect", "--type", "image", "--format",
		fmt.Sprintf("{{index .OCIv1.Config.Labels %q}}", label), ref)
}

func (c *containers) Pull(ctx context.Context, ref string) error {
	return c.run.Do(ctx, c.program, "pull", "--quiet", ref)
}

func (c *containers) Import(ctx context.Context, tar, ref string, labels map[string]string) (err error) {
	if c.program == "podman" {
		args := []string{"import", "--quiet", "--change", `CMD ["/bin/sh"]`}
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			args = append(args, "--change", fmt.Sprintf("LABEL %s=%s", name, labels[name]))
		}
		return c.run.Do(ctx, "podman", append(args, tar, ref)...)
	}
	container, err := c.run.Output(ctx, "buildah", "from", "scratch")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.drop(container)) }()
	if err := c.run.Do(ctx, "buildah", "add", "--quiet", container, tar, "/"); err != nil {
		return err
	}
	args := []string{"config", "--cmd", "/bin/sh"}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		args = append(args, "--label", name+"="+labels[name])
	}
	if err := c.run.Do(ctx, "buildah", append(args, container)...); err != nil {
		return err
	}
	return c.run.Do(ctx, "buildah", "commit", "--quiet", container, ref)
}

// drop removes a working container also when the build was interrupted: the store is shared, and nobody else would.
func (c *containers) drop(container string) error {
	return c.run.Do(context.Background(), c.program, "rm", container)
}

func (c *containers) Build(ctx context.Context, b Build) error {
	args := []string{c.build, "--quiet", "--force-rm", "--no-cache", "--tag", b.Ref, "--arch", b.Arch, "--os", "linux"}
	if c.program == "buildah" {
		args = append(args, "--identity-label=false")
	}
	if b.Epoch != 0 {
		args = append(args, "--timestamp", strconv.FormatInt(b.Epoch, 10))
	}
	return c.run.Do(ctx, c.program, append(append(args, settings(b)...), b.Context)...)
}

// settings are the arguments that all engines share.
func settings(b Build) []string {
	var args []string
	for _, name := range slices.Sorted(maps.Keys(b.Args)) {
		args = append(args, "--build-arg", name+"="+b.Args[name])
	}
	for _, name := range slices.Sorted(maps.Keys(b.Labels)) {
		args = append(args, "--label", name+"="+b.Labels[name])
	}
	return args
}

func (c *containers) Tag(ctx context.Context, from, to string) error {
	return c.run.Do(ctx, c.program, "tag", from, to)
}

func (c *containers) Remove(ctx context.Context, ref string) error {
	return c.run.Do(ctx, c.program, "rmi", ref)
}

func (c *containers) WithRoot(ctx context.Context, ref string, f func(dir string) error) (err error) {
	if c.program == "podman" {
		return exported(ctx, c.run, "podman", ref, f)
	}
	container, err := c.run.Output(ctx, "buildah", "from", "--pull-never", ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.drop(container)) }()
	dir, err := c.run.Output(ctx, "buildah", "mount", container)
	if err != nil {
		return err
	}
	return f(dir)
}

func (c *containers) Push(ctx context.Context, ref, to string, plain bool) error {
	return c.run.Do(ctx, c.program, "push", "--quiet", verify(plain), ref, "docker://"+to)
}

func (c *containers) PushList(ctx context.Context, refs []string, to string, plain bool) (err error) {
	list := refs[0] + "-list"
	// One of an interrupted run may be there; that there is none is the usual case and no error.
	_ = c.run.Do(ctx, c.program, "manifest", "rm", list)
	if err := c.run.Do(ctx, c.program, "manifest", "create", list); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.run.Do(context.Background(), c.program, "manifest", "rm", list))
	}()
	for _, ref := range refs {
		if err := c.run.Do(ctx, c.program, "manifest", "add", list, "containers-storage:"+ref); err != nil {
			return err
		}
	}
	return c.run.Do(ctx, c.program, "manifest", "push", "--all", verify(plain), list, "docker://"+to)
}

func verify(plain bool) string { return fmt.Sprintf("--tls-verify=%v", !plain) }
