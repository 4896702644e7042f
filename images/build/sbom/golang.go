package sbom

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// programDirs are where our images keep programs that may be ours. Debian's own are known to dpkg.
var programDirs = []string{"usr/local/bin", "pgspan"}

// goModules lists the modules that the Go programs in an image were linked from, each once, and Go itself.
func goModules(root string) ([]Package, error) {
	found := map[string]*Package{}
	for _, dir := range programDirs {
		top := filepath.Join(root, dir)
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) && path == top {
				return fs.SkipDir
			}
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			info, err := buildinfo.ReadFile(path)
			if err != nil {
				return nil // not a Go program
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			collect(found, "/"+filepath.ToSlash(name), info)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look for Go programs: %w", err)
		}
	}
	modules := make([]Package, 0, len(found))
	for _, p := range found {
		slices.Sort(p.Files)
		modules = append(modules, *p)
	}
	return modules, nil
}

func collect(found map[string]*Package, program string, info *debug.BuildInfo) {
	add := func(module, version string) {
		p := Package{Name: module, Version: version, PURL: "pkg:golang/" + module}
		if version != "" {
			p.PURL += "@" + version
		}
		if _, ok := found[p.PURL]; !ok {
			found[p.PURL] = &p
		}
		found[p.PURL].Files = append(found[p.PURL].Files, program)
	}
	add("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
	main := info.Main.Version
	if main == "(devel)" {
		main = ""
	}
	add(info.Main.Path, main)
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		add(dep.Path, dep.Version)
	}
}
