//go:build lab

package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
)

// TestCommandsOfTheDocumentation runs every block against the lab, file by file, each in a namespace of its own.
func TestCommandsOfTheDocumentation(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range more {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, rel)
		}
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) { runFile(t, root, file) })
	}
}

func runFile(t *testing.T, root, file string) {
	f, err := os.Open(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	blocks, err := Blocks(file, f)
	if err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, b := range blocks {
		switch {
		case b.Shell && b.Skip != "":
			t.Logf("%s:%d is not run: %s", b.File, b.Line, b.Skip)
		case b.Shell:
			run++
		}
	}
	if run == 0 {
		return
	}
	site, err := cluster.Connect(os.Getenv("PGSPAN_KUBECONFIG"), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	namespace := "docs-" + strings.NewReplacer("/", "-", ".", "-", "_", "-").Replace(strings.ToLower(file))
	if err := site.Namespace(ctx, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text, err := os.ReadFile(os.Getenv("PGSPAN_KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	shell := func(script string) (string, error) {
		cmd := exec.CommandContext(ctx, "bash", "-c", script)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "KUBECONFIG="+config)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := shell("kubectl config use-context a && kubectl config set-context --current --namespace " + namespace); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// What a reader would put in place of the example's registry, and pods small enough to stand beside the other tests'.
	script := strings.ReplaceAll(Script(blocks), "--set global.imageRegistry=registry.example.org/you",
		"-f test/e2e/values.yaml --set agents.image.tag=$TAG,pgpool.image.tag=$TAG,database.image.tag=17-$TAG")
	out, err := shell("TAG=" + os.Getenv("PGSPAN_TAG") + "\n" + script)
	t.Log(out)
	if err != nil {
		t.Error(err)
	}
	if out, err := shell("helm list -q | xargs -r -n1 helm uninstall; kubectl delete namespace " + namespace + " --wait=false"); err != nil {
		t.Errorf("clean up: %v\n%s", err, out)
	}
}
