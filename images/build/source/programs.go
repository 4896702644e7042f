package source

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Programs are the agents that the source tree has, by name. The kubectl plugin runs on people's machines and is not one.
func (t Tree) Programs() ([]string, error) {
	mains, err := filepath.Glob(filepath.Join(t.Dir, "agents", "*", "main.go"))
	if err != nil {
		return nil, fmt.Errorf("list the agents: %w", err)
	}
	var names []string
	for _, path := range mains {
		if name := filepath.Base(filepath.Dir(path)); !strings.HasPrefix(name, "kubectl-") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no agent below %s", filepath.Join(t.Dir, "agents"))
	}
	return names, nil
}

// BuildPrograms makes the context of the agents image: a copy of the image's own directory with the programs in
// bin/linux/<arch>/. Programs that are up to date are left alone by the go command; those of agents that are gone are removed.
func (t Tree) BuildPrograms(ctx context.Context, imageDir, contextDir string, arches []string) error {
	names, err := t.Programs()
	if err != nil {
		return err
	}
	if err := refresh(filepath.Join(t.Dir, imageDir), contextDir); err != nil {
		return fmt.Errorf("copy %s: %w", imageDir, err)
	}
	packages := make([]string, len(names))
	for i, name := range names {
		packages[i] = "./agents/" + name
	}
	for _, arch := range arches {
		bin := filepath.Join(contextDir, "bin", "linux", arch)
		if err := keepOnly(bin, names); err != nil {
			return err
		}
		args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + t.Version, "-o", bin + "/"}
		cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
		cmd.Dir = t.Dir
		// What the user's environment adds to a build would make two machines' programs differ.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOAMD64=v1", "GOEXPERIMENT=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build for %s: %w\n%s", arch, err, out)
		}
	}
	return t.settle(contextDir)
}

// settle gives every file of a context the commit's time and modes that do not depend on the umask.
func (t Tree) settle(contextDir string) error {
	return filepath.WalkDir(contextDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if entry.IsDir() || filepath.Base(filepath.Dir(filepath.Dir(path))) == "linux" {
			mode = 0o755
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chtimes(path, t.Time, t.Time)
	})
}

func keepOnly(dir string, names []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of programs: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list programs: %w", err)
	}
	for _, entry := range entries {
		if slices.Contains(names, entry.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("remove a program that is no agent any more: %w", err)
		}
	}
	return nil
}

// refresh copies a directory over another and keeps the programs that are there.
func refresh(from, to string) error {
	entries, err := os.ReadDir(to)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == "bin" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
}
