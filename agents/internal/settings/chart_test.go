package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/pgspan/pgspan/agents/internal/settings"
)

// TestChartWritesWhatTheAgentsRead parses the settings of every rendered example of the chart. The chart's own tests keep these files fresh,
// and cannot reach this package.
func TestChartWritesWhatTheAgentsRead(t *testing.T) {
	paths, err := filepath.Glob("../../../charts/pgspan/examples/*/rendered/configmap.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no rendered examples: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(filepath.Dir(filepath.Dir(path))), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var config struct {
				Data map[string]string `json:"data"`
			}
			if err := yaml.Unmarshal(text, &config); err != nil {
				t.Fatal(err)
			}
			got, err := settings.Parse([]byte(config.Data[settings.File]))
			if err != nil {
				t.Fatalf("%v\n%s", err, config.Data[settings.File])
			}
			if got.Ignored != "" {
				t.Errorf("the chart writes what no agent reads: %s", got.Ignored)
			}
			if got.Release != "demo" || got.Major == 0 || got.Members.Primary != 1 || len(got.Users) == 0 {
				t.Errorf("the settings say %+v", got)
			}
			job, err := os.ReadFile(filepath.Join(filepath.Dir(path), "rollout.yaml"))
			if err != nil || !strings.Contains(string(job), `"--settings=`+got.Fingerprint+`"`) {
				t.Errorf("the settings are %s, and the rollout is for others: %v\n%s", got.Fingerprint, err, job)
			}
		})
	}
}
