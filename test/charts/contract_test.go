package charts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryVariableIsListedByItsProgram: the package comment of each program lists the variables that it reads. One that the chart sets
// and nobody reads would be a promise that nothing keeps.
func TestEveryVariableIsListedByItsProgram(t *testing.T) {
	programs := map[string]string{"keeper": "keeper", "seed": "seed", "postgres": "guard", "pgpool": "pooler"}
	values := "replication: {cloneMaxRate: 50M}\ndatabase: {resources: {limits: {memory: 2Gi}}}"
	checked := 0
	for _, p := range pods(objects(t, release{values: values}.mustRender(t))) {
		for _, c := range containers(p) {
			program, ours := programs[c.Name]
			if !ours {
				continue
			}
			text, err := os.ReadFile(filepath.Join("..", "..", "agents", program, "main.go"))
			if err != nil {
				t.Fatal(err)
			}
			comment, _, _ := strings.Cut(string(text), "\npackage main")
			for _, e := range c.Env {
				if !strings.HasPrefix(e.Name, "PGSPAN_") {
					continue
				}
				checked++
				if !strings.Contains(comment, e.Name) {
					t.Errorf("%s: %s is set for %s, whose program %s does not list it", p.owner, e.Name, c.Name, program)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d variables looked at", checked)
	}
}

// TestGuardAndKeeperReckonWithTheSameTimes: guard fences by the end that keeper writes, and has the pod's whole grace period to stop.
func TestGuardAndKeeperReckonWithTheSameTimes(t *testing.T) {
	for _, p := range databasePods(objects(t, release{values: "lease: {fenceAfter: 4s}\ndatabase: {terminationGracePeriodSeconds: 300}"}.mustRender(t))) {
		env := func(name, variable string) string {
			for _, e := range container(t, p, name).Env {
				if e.Name == variable {
					return e.Value
				}
			}
			return ""
		}
		for _, name := range []string{"keeper", "postgres"} {
			if got := env(name, "PGSPAN_FENCE_AFTER"); got != "4s" {
				t.Errorf("%s: %s fences after %q, want 4s", p.owner, name, got)
			}
		}
		if got := env("postgres", "PGSPAN_STOP_TIMEOUT"); got != "300s" || *p.spec.TerminationGracePeriodSeconds != 300 {
			t.Errorf("%s: guard stops within %q, kubelet within %d s; want 300", p.owner, got, *p.spec.TerminationGracePeriodSeconds)
		}
	}
}
