package charts

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/yaml"
)

// TestHelmLintStrict is `helm lint --strict`: warnings count.
func TestHelmLintStrict(t *testing.T) {
	for _, name := range exampleNames(t) {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(chartDir, "examples", name, "values.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			values := map[string]any{}
			if err := yaml.Unmarshal(text, &values); err != nil {
				t.Fatal(err)
			}
			for _, message := range lint.All(chartDir, values, "default", true).Messages {
				if message.Severity >= support.InfoSev {
					t.Error(message)
				}
			}
		})
	}
}

func TestOldKubernetesIsRefused(t *testing.T) {
	c, err := pgspan()
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]bool{"v1.28.15": false, "v1.29.0": true, "v1.29.3-eks-adc7111": true, "v1.36.3+rke2r1": true} {
		if got := chartutil.IsCompatibleRange(c.Metadata.KubeVersion, version); got != want {
			t.Errorf("Kubernetes %s with %s: got %v, want %v", version, c.Metadata.KubeVersion, got, want)
		}
	}
}

// helmDocs is the tool that makes the README's table of values out of values.yaml.
const helmDocs = "github.com/norwoodj/helm-docs/cmd/helm-docs@v1.14.2"

// TestReadmeIsFresh makes README.md again and compares.
func TestReadmeIsFresh(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"Chart.yaml", "values.yaml", "README.md.gotmpl"} {
		text, err := os.ReadFile(filepath.Join(chartDir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.CommandContext(t.Context(), "go", "run", helmDocs, "--chart-search-root", dir, "--sort-values-order", "file", "--skip-version-footer")
	if output, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", run, err, output)
	}
	got, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join(chartDir, "README.md"), string(got))
}
