package source

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree makes a source tree with agents of the given names and makes it the working directory.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module github.com/pgspan/pgspan\n\ngo 1.26.0\n")
	write(t, filepath.Join(dir, "images/agents/Dockerfile"), "FROM scratch\n")
	for _, name := range names {
		write(t, filepath.Join(dir, "agents", name, "main.go"), "package main\n\nfunc main() {}\n")
	}
	below := filepath.Join(dir, "images", "build")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	// A module of its own below must not be taken for the top.
	write(t, filepath.Join(below, "go.mod"), "module github.com/pgspan/pgspan/images/build\n")
	t.Chdir(below)
	return dir
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

func run(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=1700000000 +0200", "GIT_COMMITTER_DATE=1700000000 +0200",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func TestVersionFollowsGit(t *testing.T) {
	dir := tree(t, "seed")
	check := func(step, override, version, created string) {
		t.Helper()
		got, err := Open(t.Context(), override)
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if got.Version != version || got.Time.Format("2006-01-02T15:04:05Z07:00") != created {
			t.Errorf("%s: got %s of %v, want %s of %s", step, got.Version, got.Time, version, created)
		}
	}
	check("outside_git", "", "0.1.0-dev", "1970-01-01T00:00:00Z")
	run(t, dir, "git", "init", "-q")
	run(t, dir, "git", "add", ".")
	run(t, dir, "git", "commit", "-qm", "first")
	run(t, dir, "git", "tag", "v0.2.0")
	check("at_a_tag", "", "0.2.0", "2023-11-14T22:13:20Z")
	check("told_otherwise", "mine", "mine", "2023-11-14T22:13:20Z")
	write(t, filepath.Join(dir, "go.mod"), "module github.com/pgspan/pgspan\n")
	check("dirty", "", "0.2.0-dirty", "2023-11-14T22:13:20Z")
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	check("time_given", "", "0.2.0-dirty", "1970-01-02T00:00:00Z")
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := Open(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("unreadable time: got %v, want the variable's name", err)
	}
}

func TestOutsideTheSourceTree(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := Open(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "not inside pgspan's source tree") {
		t.Errorf("got %v, want that this is not the source tree", err)
	}
}

func TestProgramsOfRemovedAgentsGo(t *testing.T) {
	dir := tree(t, "seed", "guard", "kubectl-pgspan")
	src, err := Open(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "context")
	programs := func() []string {
		t.Helper()
		if err := src.BuildPrograms(t.Context(), "images/agents", out, []string{"arm64"}); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Join(out, "bin/linux/arm64"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return names
	}
	if got, want := programs(), []string{"guard", "seed"}; !slices.Equal(got, want) {
		t.Errorf("programs: got %v, want %v", got, want)
	}
	if err := os.RemoveAll(filepath.Join(dir, "agents/guard")); err != nil {
		t.Fatal(err)
	}
	if got, want := programs(), []string{"seed"}; !slices.Equal(got, want) {
		t.Errorf("after guard was removed: got %v, want %v", got, want)
	}
	write(t, filepath.Join(dir, "agents/seed/main.go"), "package main\n\nfunc main() { missing() }\n")
	err = src.BuildPrograms(t.Context(), "images/agents", out, []string{"arm64"})
	if err == nil || !strings.Contains(err.Error(), "undefined: missing") {
		t.Errorf("program that does not compile: got %v, want the compiler's words", err)
	}
}
