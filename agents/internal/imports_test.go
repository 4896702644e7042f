// Package internal holds no code. Its test keeps the packages below apart.
package internal

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pgspan/pgspan/"

type listed struct {
	ImportPath    string
	Imports, Deps []string
}

// packages asks the go command for every package of the agents.
func packages(t *testing.T) map[string]listed {
	t.Helper()
	touch(t)
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps", module+"agents/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	all := map[string]listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = p
	}
	if len(all) < 20 {
		t.Fatalf("only %d packages were listed", len(all))
	}
	return all
}

// touch opens every source file. What the go command reads on our behalf is unknown to the test cache, which would answer "ok" from before the
// change that breaks a rule.
func touch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		_, err = os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func isKubernetes(path string) bool {
	return strings.HasPrefix(path, "k8s.io/") || strings.HasPrefix(path, "sigs.k8s.io/controller-runtime")
}

func TestOnlyOnePackageKnowsTheDriverAndTwoKnowKubernetes(t *testing.T) {
	for name, p := range packages(t) {
		for _, path := range p.Imports {
			// kubectl-pgspan runs on a person's machine, where the official client reads kubeconfig.
			if isKubernetes(path) && !slices.Contains([]string{"agents/internal/kube", "agents/internal/lease"}, name) && !strings.HasPrefix(name, "agents/kubectl-pgspan") {
				t.Errorf("%s imports %s: only kube and lease know Kubernetes", name, path)
			}
			if strings.HasPrefix(path, "github.com/jackc/") && name != "agents/internal/pg" {
				t.Errorf("%s imports %s: only pg knows the driver", name, path)
			}
			// podtest is part of the tests of others itself.
			if slices.Contains([]string{module + "agents/internal/pgtest", module + "agents/internal/podtest", module + "agents/internal/kubetest"}, path) && name != "agents/internal/podtest" {
				t.Errorf("%s imports %s outside its tests", name, path)
			}
		}
	}
}

// The upper half of the driver knows every type of PostgreSQL, and costs two megabytes in each pod.
func TestKeeperHasTheLowerHalfOfTheDriverOnly(t *testing.T) {
	keeper, ok := packages(t)["agents/keeper"]
	if !ok || !slices.Contains(keeper.Deps, "github.com/jackc/pgx/v5/pgconn") {
		t.Fatal("keeper does not use the driver at all: this test looks at the wrong package")
	}
	if slices.Contains(keeper.Deps, "github.com/jackc/pgx/v5") {
		t.Error("keeper depends on github.com/jackc/pgx/v5: use package pg's own rows")
	}
}

// What decides, and what the small programs in the server's image are made of, stays free of Kubernetes, SQL and the network, whatever it imports.
func TestWhatDecidesIsPure(t *testing.T) {
	all := packages(t)
	for _, name := range []string{"lsn", "epoch", "judge", "record", "plan", "pgconf", "grant"} {
		p, ok := all["agents/internal/"+name]
		if !ok {
			t.Errorf("there is no package %s", name)
			continue
		}
		for _, dep := range p.Deps {
			if isKubernetes(dep) || dep == module+"agents/internal/kube" || strings.HasPrefix(dep, "github.com/jackc/") || dep == "net/http" {
				t.Errorf("%s depends on %s", name, dep)
			}
		}
	}
	for _, name := range []string{"agents/seed", "agents/guard"} {
		for _, dep := range all[name].Deps {
			if isKubernetes(dep) || dep == module+"agents/internal/kube" || strings.HasPrefix(dep, "github.com/jackc/") {
				t.Errorf("%s depends on %s: it knows neither the Kubernetes API nor SQL", name, dep)
			}
		}
	}
}

// Wall time jumps. What decides takes time as a value, from the boot clock; the two decisions of guard are files of a package that also acts.
func TestWhatDecidesDoesNotReadWallTime(t *testing.T) {
	touch(t)
	for _, name := range []string{
		"judge", "record", "members", "observed", "epoch", "lsn", "timeline", "grant", "fence",
		"lease/loop.go", "lease/look.go", "lease/orders.go", "lease/view.go", "guarding/next.go", "guarding/accept.go", "plan", "boottime",
	} {
		out, err := exec.Command("grep", "-rnE", "--include=*.go", "--exclude=*_test.go", `\btime\.(Now|Since|Until|After|AfterFunc|Tick)\b`, name).CombinedOutput()
		if err == nil {
			t.Errorf("%s reads a clock:\n%s", name, out)
		} else if code := (*exec.ExitError)(nil); !errors.As(err, &code) || code.ExitCode() != 1 {
			t.Errorf("search %s: %v %s", name, err, out)
		}
	}
}
