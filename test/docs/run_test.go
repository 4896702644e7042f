//go:build lab

package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/pgspan/pgspan/test/cluster"
)

// namespaces of the files whose commands name one.
var namespaces = map[string]string{"charts/pgspan/README.md": "quay"}

// TestCommandsOfTheDocumentation runs every block against the lab, file by file, each in a namespace of its own. A file that installs
// something also says how it is removed, and nothing of it may be left.
func TestCommandsOfTheDocumentation(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"README.md", "charts/pgspan/README.md"}
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
	ran := 0
	for _, file := range files {
		t.Run(file, func(t *testing.T) { ran += runFile(t, root, file) })
	}
	if ran < 7 {
		t.Errorf("only %d blocks were run", ran)
	}
}

func runFile(t *testing.T, root, file string) (ran int) {
	f, err := os.Open(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	blocks, err := Blocks(file, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		switch {
		case b.Shell && b.Skip != "":
			t.Logf("%s:%d is not run: %s", b.File, b.Line, b.Skip)
		case b.Shell:
			ran++
		}
	}
	if ran == 0 {
		return 0
	}
	kubeconfig := os.Getenv("PGSPAN_KUBECONFIG")
	site, err := cluster.Connect(kubeconfig, "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	namespace := namespaces[file]
	if namespace == "" {
		namespace = "docs-" + strings.NewReplacer("/", "-", ".", "-", "_", "-").Replace(strings.ToLower(file))
	}
	if err := site.Namespace(ctx, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	shell := func(script string) (string, error) {
		cmd := exec.CommandContext(ctx, "bash", "-c", script)
		cmd.Dir = root
		// The plugin is where `make agents` puts it.
		cmd.Env = append(os.Environ(), "KUBECONFIG="+config, "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := shell("kubectl config use-context a && kubectl config set-context --current --namespace " + namespace); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := shell(inLab(Script(blocks), os.Getenv("PGSPAN_TAG")))
	if err != nil {
		seen, _ := shell("kubectl get pods; kubectl get events | tail -30")
		t.Fatalf("%v\n%s\n%s", err, out, seen)
	}
	t.Log(out)
	for _, o := range left(t, ctx, site, namespace) {
		t.Errorf("%s is still there after the last command of %s", o, file)
	}
	return ran
}

var helmOfTheChart = regexp.MustCompile(`(?m)^(helm (?:install|upgrade).* charts/pgspan)\b(?: --set global\.imageRegistry=\S+ --set-string global\.imageTag=\$\([^)]*\))?`)

// inLab puts the lab's registry in place of the reader's, and pods small enough to stand beside the other tests'.
func inLab(script, tag string) string {
	values := " -f test/e2e/values.yaml"
	if tag != "" {
		values += " --set-string global.imageTag=" + tag
	}
	return helmOfTheChart.ReplaceAllString(script, "${1}"+values)
}

// ownOfNamespaces are objects that Kubernetes makes in every namespace.
var ownOfNamespaces = []string{"configmaps/kube-root-ca.crt", "serviceaccounts/default"}

// left lists what is in a namespace, of every kind that can be listed. Events are history.
func left(t *testing.T, ctx context.Context, site *cluster.Site, namespace string) []string {
	t.Helper()
	lists, err := site.Client.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	lists = discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists)
	client, err := dynamic.NewForConfig(site.Config)
	if err != nil {
		t.Fatal(err)
	}
	// What belongs to a deleted object is collected within seconds.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var names []string
	err = cluster.Wait(ctx, "nothing is left in "+namespace, func(ctx context.Context) (bool, string, error) {
		names = nil
		for _, list := range lists {
			group, err := schema.ParseGroupVersion(list.GroupVersion)
			if err != nil {
				return false, "", err
			}
			for _, r := range list.APIResources {
				if !r.Namespaced || r.Name == "events" {
					continue
				}
				objects, err := client.Resource(group.WithResource(r.Name)).Namespace(namespace).List(ctx, metav1.ListOptions{})
				if err != nil {
					return false, "", err
				}
				for _, o := range objects.Items {
					if name := r.Name + "/" + o.GetName(); !slices.Contains(ownOfNamespaces, name) {
						names = append(names, name)
					}
				}
			}
		}
		return len(names) == 0, strings.Join(names, " "), nil
	})
	if err != nil && len(names) == 0 {
		t.Error(err)
	}
	return names
}
