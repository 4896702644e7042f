package pgpool_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/pgspan/pgspan/agents/internal/pgpool"
)

// TestChartWritesWhatThePoolerReads reads the settings of every rendered example of the chart. The chart's own tests keep these files
// fresh, and cannot reach this package.
func TestChartWritesWhatThePoolerReads(t *testing.T) {
	paths, err := filepath.Glob("../../../charts/pgspan/examples/*/rendered/pgpool.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no rendered examples: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(filepath.Dir(filepath.Dir(path))), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n---\n")
			var config struct {
				Data map[string]string `json:"data"`
			}
			if err := yaml.Unmarshal([]byte(first), &config); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, pgpool.File), []byte(config.Data[pgpool.File]), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := pgpool.Read(dir)
			if err != nil {
				t.Fatalf("%v\n%s", err, config.Data[pgpool.File])
			}
			if got.Primary.Host != "demo-rw.default.svc.cluster.local" || got.Children == 0 {
				t.Errorf("the settings say %+v", got)
			}
		})
	}
}
