package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a component whose inputs lie in a folder of the test's.
func sample(t *testing.T) (source string, c component) {
	t.Helper()
	source = t.TempDir()
	place(t, source, "part/go.mod", "module x")
	place(t, source, "part/go.sum", "sum")
	return source, component{name: "x", dir: "part", packages: []string{"x/cmd/y"}, inputs: moduleFiles,
		flags: []string{"-a", "-b"}, env: []string{"CGO_ENABLED=0"}}
}

func place(t *testing.T, source, name, text string) {
	t.Helper()
	path := filepath.Join(source, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func keyOf(t *testing.T, c component, source, toolchain string) string {
	t.Helper()
	key, err := c.key(source, toolchain)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestFreshCloneHasTheSameKey(t *testing.T) {
	first, c := sample(t)
	second, _ := sample(t)
	place(t, second, "part/README", "not an input")
	if got, want := keyOf(t, c, second, "go1"), keyOf(t, c, first, "go1"); got != want {
		t.Errorf("got key %s in another clone, want %s", got, want)
	}
}

func TestEveryInputChangesTheKey(t *testing.T) {
	source, c := sample(t)
	before := keyOf(t, c, source, "go1")
	for name, change := range map[string]func() (component, string){
		"toolchain": func() (component, string) { return c, "go2" },
		"flags":     func() (component, string) { d := c; d.flags = []string{"-a", "-c"}; return d, "go1" },
		// The same letters in other words.
		"flags_split": func() (component, string) { d := c; d.flags = []string{"-a-b"}; return d, "go1" },
		"environment": func() (component, string) { d := c; d.env = nil; return d, "go1" },
		"packages":    func() (component, string) { d := c; d.packages = append(d.packages, "x/cmd/z"); return d, "go1" },
		"go.sum": func() (component, string) {
			place(t, source, "part/go.sum", "other sum")
			return c, "go1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer place(t, source, "part/go.sum", "sum")
			d, toolchain := change()
			if after := keyOf(t, d, source, toolchain); after == before {
				t.Errorf("got the same key %s", after)
			}
		})
	}
}

func TestMissingInputIsAnError(t *testing.T) {
	source, c := sample(t)
	if err := os.Remove(filepath.Join(source, "part", "go.sum")); err != nil {
		t.Fatal(err)
	}
	if key, err := c.key(source, "go1"); err == nil {
		t.Errorf("got key %s without go.sum", key)
	}
}

func TestVersionsLeaveOutThePodsOwnPrograms(t *testing.T) {
	old := Binaries{Dir: "/cache/set/aaa-bbb-111"}
	for name, c := range map[string]struct {
		dir  string
		same bool
	}{
		"only_probe_changed": {"/cache/set/aaa-bbb-222", true},
		"kubelet_changed":    {"/cache/set/aaa-ccc-111", false},
		"nothing_is_known":   {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (Binaries{Dir: c.dir}).Versions() == old.Versions(); got != c.same {
				t.Errorf("got same=%v, want %v", got, c.same)
			}
		})
	}
	all := components()
	if last := all[len(all)-1]; last.dir != "." {
		t.Errorf("the last component is %s, want the pods' own programs", last.name)
	}
}

func TestProgramName(t *testing.T) {
	for pkg, want := range map[string]string{
		"k8s.io/kubernetes/cmd/kubelet":                      "kubelet",
		"go.etcd.io/etcd/server/v3":                          "server",
		"github.com/containerd/containerd/v2/cmd/containerd": "containerd",
		"./cmd/pause":       "pause",
		"example.org/vault": "vault",
	} {
		if got := programName(pkg); got != want {
			t.Errorf("%s: got %s, want %s", pkg, got, want)
		}
	}
}

// The lists of programs in the module files and in the build must not drift apart.
func TestComponentsBuildWhatTheirModulesName(t *testing.T) {
	source := ".."
	for _, c := range components() {
		if c.dir == "." {
			continue
		}
		data, err := os.ReadFile(filepath.Join(source, c.dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		named := toolsOf(string(data))
		for _, p := range c.packages {
			if !named[p] {
				t.Errorf("%s is built but is no tool of %s/go.mod", p, c.dir)
			}
			delete(named, p)
		}
		for p := range named {
			t.Errorf("%s is a tool of %s/go.mod but is not built", p, c.dir)
		}
	}
}

// toolsOf reads the tool lines of a go.mod file.
func toolsOf(text string) map[string]bool {
	tools := map[string]bool{}
	inBlock := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, single := strings.CutPrefix(line, "tool ")
		switch {
		case line == "tool (":
			inBlock = true
		case inBlock && line == ")":
			inBlock = false
		case inBlock:
			tools[line] = true
		case single:
			tools[name] = true
		}
	}
	return tools
}
