// Package command is the tool's command line.
package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pgspan/pgspan/images/build/builder"
	"github.com/pgspan/pgspan/images/build/recipe"
)

type options struct {
	tag     string
	debian  string
	verbose bool
	refresh bool
	out     io.Writer
}

// New makes the command line. tag is the version to build, empty for what git says; out gets the lines that say what is done.
func New(tag string, out io.Writer) *cobra.Command {
	o := &options{out: out}
	root := &cobra.Command{
		Use:           "build",
		Short:         "Build pgspan's container images",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&o.tag, "tag", tag, "version to build (default: what git describes)")
	flags.StringVar(&o.debian, "debian", "docker.io/library/debian", "repository of Debian's images")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "show what the engine says")
	flags.BoolVar(&o.refresh, "refresh", false, "pull or make the base images again, for security updates")
	root.AddCommand(o.build(), o.push(), o.rootfs(), o.sbom())
	return root
}

func (o *options) build() *cobra.Command {
	return &cobra.Command{
		Use:   "build [name …]",
		Short: "Build images, and lay down those that unit tests need when run as root",
		RunE: func(cmd *cobra.Command, names []string) error {
			return o.each(cmd.Context(), names, func(ctx context.Context, b *builder.Builder, built []builder.Built) error {
				for _, image := range built {
					b.Say("%s: %s", image.Name, image.Ref)
				}
				if !built[0].Unit || os.Geteuid() != 0 {
					return nil
				}
				_, err := b.ExportRoot(ctx, built[0])
				return err
			})
		},
	}
}

func (o *options) push() *cobra.Command {
	var registry string
	var plain bool
	cmd := &cobra.Command{
		Use:   "push --registry REGISTRY [name …]",
		Short: "Build images and push them to a registry",
		RunE: func(cmd *cobra.Command, names []string) error {
			plain := plain || builder.PlainByDefault(registry)
			return o.each(cmd.Context(), names, func(ctx context.Context, b *builder.Builder, built []builder.Built) error {
				refs, err := b.Push(ctx, built, registry, plain)
				for _, ref := range refs {
					b.Say("%s: pushed %s", built[0].Name, ref)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&registry, "registry", "", "host[:port][/path] of the registry")
	cmd.Flags().BoolVar(&plain, "plain-http", false, "speak plain HTTP (always allowed on this machine and in the lab)")
	if err := cmd.MarkFlagRequired("registry"); err != nil {
		panic(err) // the flag is defined two lines above
	}
	return cmd
}

func (o *options) rootfs() *cobra.Command {
	return &cobra.Command{
		Use:   "rootfs [name …]",
		Short: "Lay images down for unit tests, those of postgres and pgpool by default, and print where",
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				names = []string{"postgres", "pgpool"}
			}
			return o.each(cmd.Context(), names, func(ctx context.Context, b *builder.Builder, built []builder.Built) error {
				dir, err := b.ExportRoot(ctx, built[0])
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), dir)
				return nil
			})
		},
	}
}

func (o *options) sbom() *cobra.Command {
	return &cobra.Command{
		Use:   "sbom [name …]",
		Short: "Write what is in each image to dist/sbom/<name>.spdx.json",
		RunE: func(cmd *cobra.Command, names []string) error {
			return o.each(cmd.Context(), names, func(ctx context.Context, b *builder.Builder, built []builder.Built) error {
				for _, image := range built {
					path := filepath.Join(b.Dist, "sbom", image.Name+".spdx.json")
					if len(built) > 1 {
						path = filepath.Join(b.Dist, "sbom", image.Name+"-"+image.Arch+".spdx.json")
					}
					count, err := b.WriteBill(ctx, image, path)
					if err != nil {
						return fmt.Errorf("%s: %w", image.Name, err)
					}
					b.Say("%s: %d packages in %s", image.Name, count, path)
				}
				return nil
			})
		},
	}
}

// each builds the images named and calls f with each of them as it is ready.
func (o *options) each(
	ctx context.Context, names []string, f func(context.Context, *builder.Builder, []builder.Built) error,
) error {
	images, err := recipe.Select(recipe.All(), names)
	if err != nil {
		return err
	}
	b, done, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	for _, image := range images {
		built, err := b.Build(ctx, image)
		if err != nil {
			return err
		}
		if err := f(ctx, b, built); err != nil {
			return err
		}
	}
	return nil
}
