package recipe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func find(t *testing.T, name string) Image {
	t.Helper()
	for _, image := range All() {
		if image.Name == name {
			return image
		}
	}
	t.Fatalf("no image %s", name)
	return Image{}
}

func TestSelect(t *testing.T) {
	tests := []struct {
		name  string
		names []string
		want  string
		err   string
	}{
		{"nothing_named_leaves_test_images_out", nil, "agents postgres-15 postgres-17 postgres-18 pgpool", ""},
		{"all_takes_test_images_in", []string{"all"}, "agents postgres-15 postgres-17 postgres-18 pgpool foreign", ""},
		{"peer_of_a_benchmark_is_built_by_its_name_only", []string{"patroni"}, "patroni", ""},
		{"repository_means_every_major", []string{"postgres"}, "postgres-15 postgres-17 postgres-18", ""},
		{"order_is_the_build_order", []string{"pgpool", "agents"}, "agents pgpool", ""},
		{"misspelt_names_are_all_told", []string{"postgers", "agents", "x"}, "", "postgers, x; there are: agents, postgres-15"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			images, err := Select(All(), tt.names)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want one with %q", err, tt.err)
				}
				return
			}
			var got []string
			for _, image := range images {
				got = append(got, image.Name)
			}
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestRefs(t *testing.T) {
	got := find(t, "postgres-17").Refs("r.example:5000", "v1")
	want := []string{"r.example:5000/pgspan/postgres:17-v1", "r.example:5000/pgspan/postgres:v1"}
	if !slices.Equal(got, want) {
		t.Errorf("default major: got %v, want %v", got, want)
	}
	got = find(t, "postgres-15").Refs("localhost", "v1")
	if want := []string{"localhost/pgspan/postgres:15-v1"}; !slices.Equal(got, want) {
		t.Errorf("other major: got %v, want %v", got, want)
	}
}

func TestCheckSize(t *testing.T) {
	image := Image{Name: "agents", Limit: 60 * MB}
	if err := image.CheckSize(60 * MB); err != nil {
		t.Errorf("at the limit: got %v, want none", err)
	}
	err := image.CheckSize(60*MB + 1)
	if want := "agents is 61 MB, and may be 60 MB"; err == nil || err.Error() != want {
		t.Errorf("one byte above: got %v, want %s", err, want)
	}
	if err := (Image{}).CheckSize(1 << 40); err != nil {
		t.Errorf("without a limit: got %v, want none", err)
	}
}

func TestStale(t *testing.T) {
	refs := []string{
		"docker.io/library/postgres:17",
		"localhost/pgspan-content/postgres-17:aaaaaaaaaaaaaaaa",
		"localhost/pgspan-content/postgres-17:bbbbbbbbbbbbbbbb",
		"localhost/pgspan-content/postgres-18:aaaaaaaaaaaaaaaa",
		"localhost/pgspan/agents:0123abc",
		"localhost/pgspan/agents:0123abc-dirty-arm64",
		"localhost/pgspan/agents:89abcde-amd64",
		"localhost/pgspan/agents:v1.0.0-amd64",
		"localhost/pgspan/agents:v1.0.0-dirty-01234567",
		"localhost/pgspan/postgres:0123abc",
		"localhost/pgspan/postgres:15-0123abc",
		"localhost/pgspan/postgres:17-0123abc-dirty",
		"localhost/pgspan/postgres:17-89abcde",
		"localhost/pgspan/postgres:17-v1.0.0",
		"localhost/pgspan/postgres:17-v1.0.0-3-g0123abc",
		"localhost/pgspan/postgres:89abcde",
		"localhost/pgspan/postgres:v1.0.0",
		"registry.example/pgspan/postgres:17-0123abc",
	}
	keep := []string{
		"localhost/pgspan/postgres:17-89abcde", "localhost/pgspan/postgres:89abcde", "localhost/pgspan/agents:89abcde-amd64",
		"localhost/pgspan-content/postgres-17:bbbbbbbbbbbbbbbb",
	}
	tests := []struct {
		image string
		want  []string
	}{
		{"postgres-17", []string{
			"localhost/pgspan-content/postgres-17:aaaaaaaaaaaaaaaa", "localhost/pgspan/postgres:0123abc",
			"localhost/pgspan/postgres:17-0123abc-dirty", "localhost/pgspan/postgres:17-v1.0.0-3-g0123abc",
		}},
		{"postgres-15", []string{"localhost/pgspan/postgres:15-0123abc"}},
		{"agents", []string{
			"localhost/pgspan/agents:0123abc", "localhost/pgspan/agents:0123abc-dirty-arm64",
			"localhost/pgspan/agents:v1.0.0-dirty-01234567",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.image, func(t *testing.T) {
			got := Stale(find(t, tt.image), refs, "localhost", "localhost/pgspan-content/", keep)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestInputsChangeWithContentOnly(t *testing.T) {
	sum := func(change func(dir string)) string {
		t.Helper()
		dir := t.TempDir()
		for _, name := range []string{"Dockerfile", "etc/passwd"} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		change(dir)
		in := NewInputs()
		in.AddMap(map[string]string{"b": "2", "a": "1"})
		if err := in.AddDir(dir); err != nil {
			t.Fatal(err)
		}
		return in.Sum()
	}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := sum(func(string) {})
	same := map[string]func(string){
		"another_directory": func(string) {},
		"time_touched":      func(dir string) { try(os.Chtimes(dir+"/Dockerfile", time.Time{}, time.Unix(1, 0))) },
	}
	for name, change := range same {
		if got := sum(change); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	other := map[string]func(string){
		"content_changed": func(dir string) { try(os.WriteFile(dir+"/Dockerfile", []byte("x"), 0o644)) },
		"made_executable": func(dir string) { try(os.Chmod(dir+"/Dockerfile", 0o755)) },
		"file_added":      func(dir string) { try(os.WriteFile(dir+"/more", nil, 0o644)) },
		"file_renamed":    func(dir string) { try(os.Rename(dir+"/etc/passwd", dir+"/etc/group")) },
	}
	for name, change := range other {
		if got := sum(change); got == want {
			t.Errorf("%s: the hash is still %s", name, got)
		}
	}
}
