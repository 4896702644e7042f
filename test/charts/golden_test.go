package charts

import (
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the rendered examples anew")

// TestExamplesAreRenderedAsTheyStand compares each examples/*/values.yaml with examples/*/rendered: what a reader of the diff sees is what
// an upgrade would change.
func TestExamplesAreRenderedAsTheyStand(t *testing.T) {
	for _, name := range exampleNames(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(chartDir, "examples", name)
			values, err := os.ReadFile(filepath.Join(dir, "values.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			got := release{values: string(values)}.mustRender(t)
			rendered := filepath.Join(dir, "rendered")
			if *update {
				if err := os.RemoveAll(rendered); err != nil {
					t.Fatal(err)
				}
			}
			for path, text := range got {
				golden(t, filepath.Join(rendered, filepath.Base(path)), readable(path, text))
			}
			left, err := os.ReadDir(rendered)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range left {
				if !slices.ContainsFunc(keys(got), func(path string) bool { return filepath.Base(path) == file.Name() }) {
					t.Errorf("%s is not rendered any more: run with -update", file.Name())
				}
			}
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run with -update and read the diff", err)
	}
	if got != string(want) {
		t.Errorf("%s differs at %s: run with -update and read the diff", path, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			return "\n  got  " + gotLines[i] + "\n  want " + wantLines[i]
		}
	}
	return "its end"
}

var (
	encoded  = regexp.MustCompile(`(?m)^(  [-.a-z]+: )"?([A-Za-z0-9+/]{4,}=*)"?$`)
	pem      = regexp.MustCompile(`(?s)-----BEGIN ([A-Z ]+)-----.*-----END`)
	password = regexp.MustCompile(`\b[A-Za-z0-9]{32}\b`)
	blank    = regexp.MustCompile(`(?m)^[ \t]+$`)
)

// readable shows what is in Secrets, without what is random: a golden file is for reading.
func readable(path, text string) string {
	text = blank.ReplaceAllString(text, "")
	if path != "secrets.yaml" {
		return text
	}
	return encoded.ReplaceAllStringFunc(text, func(line string) string {
		parts := encoded.FindStringSubmatch(line)
		plain, err := base64.StdEncoding.DecodeString(parts[2])
		if err != nil {
			return line
		}
		if block := pem.FindSubmatch(plain); block != nil {
			return parts[1] + "<base64: " + string(block[1]) + ">"
		}
		shown := password.ReplaceAllString(strings.TrimSpace(string(plain)), "PASSWORD")
		return parts[1] + "<base64: " + strings.ReplaceAll(shown, "\n", " | ") + ">"
	})
}

func keys[V any](m map[string]V) []string {
	var all []string
	for key := range m {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}
