package pgtools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stub writes programs that answer --version like a server of this major version.
func stub(t *testing.T, dir string, major int, names ...string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %d.3 (Test 1)'\n", name, major)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFoundByPathAndAllFromOneDirectory(t *testing.T) {
	root := t.TempDir()
	// The first place has a stray program and no server; a mix of the two would run pg_rewind 16 against a server 17.
	a := stub(t, filepath.Join(root, "a"), 16, Rewind)
	b := stub(t, filepath.Join(root, "b"), 99, Postgres, Controldata, Initdb)
	t.Setenv("PATH", a+":"+b)
	got, err := Find(context.Background(), "", 99)
	if err != nil {
		t.Fatal(err)
	}
	if got.Dir != b || got.Major != 99 || got.Version != "99.3 (Test 1)" || got.Has(Rewind) || !got.Has(Initdb) {
		t.Errorf("got %+v", got)
	}
	if !slices.Contains(got.Missing(), Rewind) || slices.Contains(got.Missing(), Initdb) {
		t.Errorf("missing: %v", got.Missing())
	}
}

func TestFoundByPgConfig(t *testing.T) {
	root := t.TempDir()
	server := stub(t, filepath.Join(root, "odd", "place"), 98, Postgres, Controldata)
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "pg_config"), []byte("#!/bin/sh\necho "+server+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	got, err := Find(context.Background(), "", 98)
	if err != nil || got.Dir != server {
		t.Errorf("got %v %v, want %s", got.Dir, err, server)
	}
}

func TestLinkInPathLeadsToTheSiblingsOfTheRealProgram(t *testing.T) {
	root := t.TempDir()
	server := stub(t, filepath.Join(root, "lib"), 97, Postgres, Controldata, Rewind)
	bin := stub(t, filepath.Join(root, "bin"), 97, Controldata)
	if err := os.Symlink(filepath.Join(server, Postgres), filepath.Join(bin, Postgres)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	got, err := Find(context.Background(), "", 97)
	if err != nil || got.Dir != server || !got.Has(Rewind) {
		t.Errorf("got %+v %v, want %s", got, err, server)
	}
}

func TestMajorThatTheImageDoesNotHaveIsNamedWithWhatItHas(t *testing.T) {
	dir := stub(t, filepath.Join(t.TempDir(), "bin"), 16, Postgres, Controldata)
	_, err := Find(context.Background(), dir, 17)
	var missing *NotFoundError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "no PostgreSQL 17") || !strings.Contains(err.Error(), "16 in "+dir) {
		t.Errorf("got %v", err)
	}
}

func TestNewestOfSeveralWhenNoneIsWanted(t *testing.T) {
	root := t.TempDir()
	a := stub(t, filepath.Join(root, "a"), 96, Postgres, Controldata)
	b := stub(t, filepath.Join(root, "b"), 99, Postgres, Controldata)
	c := stub(t, filepath.Join(root, "c"), 98, Postgres, Controldata)
	t.Setenv("PATH", strings.Join([]string{a, b, c}, ":"))
	got, err := Find(context.Background(), "", 0)
	if err != nil || got.Major != 99 {
		t.Errorf("got %d %v, want 99", got.Major, err)
	}
}

func TestImageWithoutAServerIsAFindingAndABrokenServerIsNot(t *testing.T) {
	empty := t.TempDir()
	_, err := Find(context.Background(), empty, 17)
	var missing *NotFoundError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), empty) {
		t.Errorf("empty image: got %v", err)
	}
	dir := stub(t, filepath.Join(t.TempDir(), "bin"), 17, Controldata)
	if err := os.WriteFile(filepath.Join(dir, Postgres), []byte("#!/bin/sh\nexit 127\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Find(context.Background(), dir, 17)
	if err == nil || errors.As(err, &missing) {
		t.Errorf("broken server: got %v, want an error that is no finding", err)
	}
}

func TestProgramsDoNotSeeLibpqVariablesOfThePod(t *testing.T) {
	t.Setenv("PGHOST", "elsewhere")
	t.Setenv("LC_MESSAGES", "de_DE")
	t.Setenv("PGSPAN_VOLUME", "/v")
	cmd := Tools{Path: map[string]string{Postgres: "/bin/true"}}.Command(context.Background(), Postgres)
	for _, kv := range cmd.Env {
		if strings.HasPrefix(kv, "PGHOST=") || strings.HasPrefix(kv, "LC_MESSAGES=") {
			t.Errorf("passed on: %s", kv)
		}
	}
	if !slices.Contains(cmd.Env, "LC_ALL=C") || !slices.Contains(cmd.Env, "PGSPAN_VOLUME=/v") {
		t.Errorf("got %v", cmd.Env)
	}
}

// The test binary may be static, /bin/sh is not: it shows that the loader is found and asked.
func TestLibcOfADynamicProgramIsFoundOut(t *testing.T) {
	got := libraries(context.Background(), "/bin/sh")
	if got.Libc != "glibc" && got.Libc != "musl" || got.LibcVersion == "" {
		t.Errorf("got %+v", got)
	}
	if got := libraries(context.Background(), "/etc/passwd"); got.Libc != "" || got.LibcVersion != "" || got.ICU != "" {
		t.Errorf("a text file: got %+v, want unknown", got)
	}
}
