// Package recipe says which images there are, what they are made from and how large they may get. It is data and pure
// functions; nothing here runs anything.
package recipe

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MB is the unit of image size limits; registries and engines count in millions of bytes, not in mebibytes.
const MB = 1_000_000

// DefaultMajor is the PostgreSQL major version that the tag without a version stands for.
const DefaultMajor = 17

// Image is one image that the tool builds.
type Image struct {
	// Name is what the user calls it: "postgres-17".
	Name string
	// Repository is its name in a registry, below the registry's address.
	Repository string
	// TagPrefix stands before the version in its tag, because several images share a repository ("17-").
	TagPrefix string
	// Default says that the tag without the prefix names this image too.
	Default bool
	// Dir is the directory of its Dockerfile, from the top of the source tree.
	Dir string
	// Suite is the Debian suite of its base image; empty for an image made from nothing.
	Suite string
	// Args are build arguments besides BASE.
	Args map[string]string
	// Limit is the size in bytes above which the build fails; 0 for none.
	Limit int64
	// Arches are the architectures it is built for; empty for that of the machine alone.
	Arches []string
	// Programs says that our own programs are built into its context first.
	Programs bool
	// Unit says that unit tests run programs out of this image's root file system.
	Unit bool
	// Test marks an image that only the project's tests use.
	Test bool
	// Peer marks another product that benchmarks compare with. It is built only where it is named.
	Peer bool
}

// All lists every image, in build order.
func All() []Image {
	images := []Image{{
		Name: "agents", Repository: "pgspan/agents", Dir: "images/agents",
		Limit: 60 * MB, Arches: []string{"amd64", "arm64"}, Programs: true,
	}}
	for _, pg := range []struct {
		major int
		suite string
	}{{15, "bookworm"}, {17, "trixie"}, {18, "forky"}} {
		major := strconv.Itoa(pg.major)
		images = append(images, Image{
			Name: "postgres-" + major, Repository: "pgspan/postgres", TagPrefix: major + "-", Default: pg.major == DefaultMajor,
			Dir: "images/postgres", Suite: pg.suite, Args: map[string]string{"PG_MAJOR": major},
			Limit: 250 * MB, Unit: true,
		})
	}
	return append(images,
		Image{Name: "pgpool", Repository: "pgspan/pgpool", Dir: "images/pgpool", Suite: "trixie", Limit: 200 * MB, Unit: true},
		Image{Name: "foreign", Repository: "pgspan/foreign", Dir: "test/images/foreign", Suite: "trixie", Test: true},
		Image{Name: "patroni", Repository: "pgspan/patroni", Dir: "test/images/patroni", Suite: "trixie", Test: true, Peer: true},
	)
}

// Select returns the images of the given names, in build order. No name means every image but those for tests; "all" means
// those too, but not the peers of benchmarks; "postgres" means every major version.
func Select(images []Image, names []string) ([]Image, error) {
	wanted := func(i Image) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return name == "all" && !i.Peer || name == i.Name || "pgspan/"+name == i.Repository
		})
	}
	if len(names) == 0 {
		wanted = func(i Image) bool { return !i.Test }
	}
	var known, unknown []string
	for _, i := range images {
		known = append(known, i.Name)
	}
	for _, name := range names {
		if !slices.ContainsFunc(images, func(i Image) bool {
			return name == "all" || name == i.Name || "pgspan/"+name == i.Repository
		}) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("no image is called %s; there are: %s", strings.Join(unknown, ", "), strings.Join(known, ", "))
	}
	return slices.DeleteFunc(slices.Clone(images), func(i Image) bool { return !wanted(i) }), nil
}

// Refs are the names of an image in a registry (or "localhost" for the engine's own store) at one version, the first being
// the exact one.
func (i Image) Refs(registry, version string) []string {
	repository := registry + "/" + i.Repository + ":"
	refs := []string{repository + i.TagPrefix + version}
	if i.Default {
		refs = append(refs, repository+version)
	}
	return refs
}

// unreleased matches what git describes anywhere but at a tag: a commit's short name, perhaps after the last tag, or a dirty tree,
// perhaps with a hash of what is not committed.
var unreleased = regexp.MustCompile(`((^|-g)[0-9a-f]{7,40}|-dirty|-dirty-[0-9a-f]+)(-(amd64|arm64))?$`)

// Stale picks, out of the names in an engine's store, those of an image at other commits and those of its contents made from other
// inputs. Versions that carry a tag's name are never stale: someone wanted them.
func Stale(image Image, refs []string, store, contents string, keep []string) []string {
	var stale []string
	for _, ref := range refs {
		if slices.Contains(keep, ref) {
			continue
		}
		if strings.HasPrefix(ref, contents+image.Name+":") {
			stale = append(stale, ref)
			continue
		}
		tag, ok := strings.CutPrefix(ref, store+"/"+image.Repository+":")
		if !ok {
			continue
		}
		version, ours := strings.CutPrefix(tag, image.TagPrefix)
		if !ours {
			// A name without a prefix belongs to the default image.
			ours, version = image.Default && !slices.ContainsFunc(All(), func(other Image) bool {
				return other.TagPrefix != "" && strings.HasPrefix(tag, other.TagPrefix)
			}), tag
		}
		if ours && unreleased.MatchString(version) {
			stale = append(stale, ref)
		}
	}
	return stale
}

// CheckSize fails when an image is larger than it may be.
func (i Image) CheckSize(bytes int64) error {
	if i.Limit == 0 || bytes <= i.Limit {
		return nil
	}
	return fmt.Errorf("%s is %d MB, and may be %d MB", i.Name, (bytes+MB-1)/MB, i.Limit/MB)
}
