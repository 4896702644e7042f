package leftovers

import (
	"net"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNew(t *testing.T) {
	for name, c := range map[string]struct {
		before, after Snapshot
		want          []string
	}{
		"nothing_changed": {Snapshot{"mount": {"/a"}}, Snapshot{"mount": {"/a"}}, nil},
		"mount_stayed":    {Snapshot{"mount": {"/a"}}, Snapshot{"mount": {"/a", "/b"}}, []string{"mount /b"}},
		"mounted_twice":   {Snapshot{"mount": {"/a"}}, Snapshot{"mount": {"/a", "/a"}}, []string{"mount /a"}},
		"something_went":  {Snapshot{"mount": {"/a", "/b"}}, Snapshot{"mount": {"/b"}}, nil},
		"same_name_of_another_kind": {Snapshot{"link": {"x"}}, Snapshot{"link": {"x"}, "process": {"x"}},
			[]string{"process x"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := New(c.before, c.after); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOfLab(t *testing.T) {
	s := Snapshot{"link": {"eth0", "pgspan-lab0"}, "mount": {"/", "/var/lib/pgspan-lab/volumes/mounts"}}
	want := []string{"link pgspan-lab0", "mount /var/lib/pgspan-lab/volumes/mounts"}
	if got := OfLab(s); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A process in another network namespace is what a half-dead host looks like.
func TestTakeSeesProcessOfAnotherNamespace(t *testing.T) {
	before, err := Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", "sleep", "4321.5")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	want := "process sleep 4321.5"
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		after, err := Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := New(before, after)
		if slices.Contains(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want %q among them", got, want)
		}
	}
}

func TestTakeSeesLinks(t *testing.T) {
	s, err := Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if !slices.ContainsFunc(s["link"], func(path string) bool { return strings.HasSuffix(path, "/"+l.Name) }) {
			t.Errorf("link %s is missing from %q", l.Name, s["link"])
		}
	}
}
