package previous

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes a real one. Each word is a commit: "chart" changes the chart, "other" something else, "v…" tags the commit before.
func repository(t *testing.T, history string) string {
	t.Helper()
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("init", "-q", "-b", "main")
	for i, word := range strings.Fields(history) {
		if strings.HasPrefix(word, "v") {
			run("tag", word)
			continue
		}
		path := "other"
		if word == "chart" {
			path = "charts/pgspan/Chart.yaml"
		}
		write(path, fmt.Sprint(i))
		run("add", ".")
		run("commit", "-q", "-m", word)
	}
	write("charts/pgspan/Chart.yaml", "present")
	return dir
}

func TestTheChartThatAnUpgradeStartsFrom(t *testing.T) {
	cases := map[string]struct{ history, chart, why string }{
		"newest_tag_by_version":              {"chart v0.9.0 chart v0.10.0 chart", "2", "newest tag, v0.10.0"},
		"tag_of_this_commit_is_not_older":    {"chart v0.1.0 chart v0.2.0", "0", "newest tag, v0.1.0"},
		"first_tag_is_this_commit":           {"chart chart v0.1.0", "0", "1 changes ago"},
		"other_tags_do_not_count":            {"chart nightly chart", "0", "changes ago"},
		"no_tag":                             {"chart chart chart chart chart chart chart chart", "2", "5 changes ago"},
		"changes_of_other_things_are_passed": {"chart other other chart other other other", "0", "1 changes ago"},
		"one_commit":                         {"chart", "present", "no history"},
		"no_commit":                          {"", "present", "no history"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := repository(t, c.history)
			found, err := Find(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(found.Why, c.why) {
				t.Errorf("got %q, want %q", found.Why, c.why)
			}
			chart, err := found.Extract(t.Context(), dir, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(chart, "Chart.yaml"))
			if err != nil || string(got) != c.chart {
				t.Errorf("the chart is %q, %v; want %q", got, err, c.chart)
			}
		})
	}
}

func TestNoRepository(t *testing.T) {
	dir := t.TempDir()
	if found, err := Find(t.Context(), dir); err != nil || found.Rev != "" {
		t.Errorf("got %+v, %v", found, err)
	}
}

func TestShallowClone(t *testing.T) {
	from, to := repository(t, "chart v0.1.0 chart chart"), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "git", "clone", "-q", "--depth", "1", "file://"+from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found, err := Find(t.Context(), to)
	if err != nil || found.Rev != "" {
		t.Fatalf("got %+v, %v", found, err)
	}
	if _, err := found.Extract(t.Context(), to, t.TempDir()); err != nil {
		t.Error(err)
	}
}
