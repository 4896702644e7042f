package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestArgumentsAreSortedBetweenKubectlAndRole(t *testing.T) {
	for name, c := range map[string]struct {
		args          []string
		kubectl, role []string
		release, err  string
	}{
		"none":                 {},
		"both_kinds_mixed":     {args: []string{"--to", "db-replica-0", "-n", "pg", "--dry-run", "--context=leo"}, kubectl: []string{"-n", "pg", "--context", "leo"}, role: []string{"--to", "db-replica-0", "--dry-run"}},
		"release":              {args: []string{"--release", "db", "-o", "json"}, release: "db", role: []string{"-o", "json"}},
		"argument":             {args: []string{"db-replica-0", "--reason", "bad memory"}, role: []string{"db-replica-0", "--reason", "bad memory"}},
		"all_after_two_dashes": {args: []string{"-n", "pg", "--", "-n", "x"}, kubectl: []string{"-n", "pg"}, role: []string{"-n", "x"}},
		"no_value":             {args: []string{"--namespace"}, err: "--namespace needs a value"},
		"empty_value":          {args: []string{"--context="}, err: "--context is empty"},
		"of_the_pod":           {args: []string{"--keepers=elsewhere:8009"}, err: "--keepers is for role itself"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := split(c.args)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || a.release != c.release || !slices.Equal(a.kubectl, c.kubectl) || !slices.Equal(a.role, c.role) {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

// Pods as kubectl lists them: what is looked at, and a field that is not.
func listed(t *testing.T, pods ...string) []pod {
	t.Helper()
	all, err := podsOf([]byte(`{"kind": "List", "items": [` + strings.Join(pods, ",") + "]}"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func one(name, release, state string) string {
	b, _ := json.Marshal(map[string]any{
		"metadata": map[string]any{"name": name, "labels": map[string]string{labelCluster: release}},
		"spec":     map[string]any{"nodeName": "a1"},
		"status": map[string]any{"phase": "Running", "initContainerStatuses": []map[string]any{
			{"name": "agents", "state": map[string]any{"terminated": map[string]any{}}}, {"name": keeper, "state": map[string]any{state: map[string]any{}}},
		}},
	})
	return string(b)
}

func TestPodThatIsAsked(t *testing.T) {
	site := []string{one("db-primary-0", "db", "running"), one("db-replica-0", "db", "running"), one("db-replica-1", "db", "waiting")}
	other := one("staging-primary-0", "staging", "running")
	for name, c := range map[string]struct {
		pods    []string
		release string
		want    string // names, or a part of the error
	}{
		"those_that_run":          {site, "", "db-primary-0 db-replica-0"},
		"named_among_several":     {append(slices.Clone(site), other), "staging", "staging-primary-0"},
		"not_named_among_several": {append(slices.Clone(site), other), "", "choose one with --release: db, staging"},
		"unknown_release":         {site, "quay", "there is no release quay in namespace pg, but db"},
		"no_pods":                 {nil, "", "there are no database pods of pgspan in namespace pg"},
		"none_of_them_runs":       {[]string{one("db-primary-0", "db", "waiting")}, "", "no keeper of db runs, so nobody can be asked: db-primary-0 is Running on a1"},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, err := choose(listed(t, c.pods...), c.release, "namespace pg")
			var names []string
			for _, p := range chosen {
				names = append(names, p.Metadata.Name)
			}
			if err != nil && strings.Contains(err.Error(), c.want) {
				return
			}
			if got := strings.Join(names, " "); err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestWhatKubectlAddsIsTakenOff(t *testing.T) {
	const said = "refused: db-replica-0 is 3 MB behind\n"
	for _, text := range []string{said, said + "command terminated with exit code 3\n"} {
		if got := withoutTrailer(text); got != said {
			t.Errorf("got %q", got)
		}
	}
}

// The verbs are written down twice: here, so that the plugin's help lists them without a cluster.
func TestVerbsAreThoseOfRole(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "run", "../role", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, list, _ := strings.Cut(string(out), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var roles, ours []string
	for line := range strings.Lines(list) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); name != "help" {
			roles = append(roles, name)
		}
	}
	for _, v := range verbs {
		ours = append(ours, v.name)
	}
	slices.Sort(roles)
	slices.Sort(ours)
	if !slices.Equal(roles, ours) || len(roles) < 5 {
		t.Errorf("role has %v, the plugin %v", roles, ours)
	}
}
