package sbom

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
)

func TestDebianPackagesOfAnImage(t *testing.T) {
	got, err := Scan("testdata/root")
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{
		{
			Name: "libstdc++6", Version: "14.2.0-19", Supplier: "Debian", Homepage: "http://gcc.gnu.org/",
			PURL: "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=debian-13",
		},
		{
			Name: "login", Version: "1:4.16.0-2+really2.41-5", Supplier: "Debian",
			PURL: "pkg:deb/debian/login@1%3A4.16.0-2%2Breally2.41-5?arch=amd64&distro=debian-13",
		},
		{
			Name: "tzdata", Version: "2025b-4+deb13u1", Supplier: "Debian", Homepage: "https://www.iana.org/time-zones",
			PURL: "pkg:deb/debian/tzdata@2025b-4%2Bdeb13u1?arch=all&distro=debian-13",
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestStatusWithoutAVersionIsRefused(t *testing.T) {
	_, err := parseStatus(strings.NewReader("Package: x\nStatus: install ok installed\nArchitecture: all\n"), "debian-13")
	if err == nil || !strings.Contains(err.Error(), "a field is missing") {
		t.Errorf("got %v, want that a field is missing", err)
	}
}

func TestDistroOfAnUnreleasedSuite(t *testing.T) {
	if got, want := distro("ID=debian\nVERSION_CODENAME=forky\n"), "debian-forky"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestModulesOfGoPrograms(t *testing.T) {
	root := t.TempDir()
	bin := filepath.Join(root, "usr/local/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "script"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// The tool itself is a Go program with dependencies, and so are its copies.
	for _, name := range []string{"one", "two"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(bin, name), "github.com/pgspan/pgspan/images/build")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	packages, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Package{}
	for _, p := range packages {
		if _, twice := found[p.Name]; twice {
			t.Errorf("%s is listed twice", p.Name)
		}
		found[p.Name] = p
	}
	if got, want := found["stdlib"].Version, strings.TrimPrefix(runtime.Version(), "go"); got != want {
		t.Errorf("Go's library: got %q, want %q", got, want)
	}
	cobra := found["github.com/spf13/cobra"]
	if !strings.HasPrefix(cobra.PURL, "pkg:golang/github.com/spf13/cobra@v1.") {
		t.Errorf("a dependency: got %+v", cobra)
	}
	if got, want := strings.Join(cobra.Files, " "), "/usr/local/bin/one /usr/local/bin/two"; got != want {
		t.Errorf("programs of a dependency: got %s, want %s", got, want)
	}
}

func TestReplacedModuleIsTheOneThatWasLinked(t *testing.T) {
	found := map[string]*Package{}
	collect(found, "/bin/x", &debug.BuildInfo{
		GoVersion: "go1.26.0",
		Main:      debug.Module{Path: "example.com/x", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.com/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.0.1"}},
		},
	})
	for _, purl := range []string{"pkg:golang/stdlib@1.26.0", "pkg:golang/example.com/x", "pkg:golang/example.com/fork@v1.0.1"} {
		if found[purl] == nil {
			t.Errorf("%s is missing", purl)
		}
	}
	if len(found) != 3 {
		t.Errorf("got %d packages, want 3", len(found))
	}
}

func TestDocumentIsValid(t *testing.T) {
	packages, err := Scan("testdata/root")
	if err != nil {
		t.Fatal(err)
	}
	packages = append(packages, Package{Name: "github.com/a/b_c", Version: "v1", PURL: "pkg:golang/github.com/a/b_c@v1", Files: []string{"/x"}})
	image := Image{
		Name: "pgspan/postgres", Version: "17-v1", ID: strings.Repeat("0123456789abcdef", 4), License: "PostgreSQL",
		Created: time.Unix(1_700_000_000, 0),
	}
	var document bytes.Buffer
	if err := Write(&document, image, packages); err != nil {
		t.Fatal(err)
	}
	parsed, err := spdxjson.Read(bytes.NewReader(document.Bytes()))
	if err != nil {
		t.Fatalf("not readable: %v\n%s", err, document.String())
	}
	if err := spdxlib.ValidateDocument(parsed); err != nil {
		t.Errorf("not valid: %v", err)
	}
	described, err := spdxlib.GetDescribedPackageIDs(parsed)
	if err != nil || len(described) != 1 || described[0] != "Package-Image" {
		t.Errorf("described: got %v, %v; want the image", described, err)
	}
	if got, want := len(parsed.Packages), 5; got != want {
		t.Errorf("packages: got %d, want %d", got, want)
	}
	checkRequired(t, document.Bytes())
}

// checkRequired checks what the SPDX 2.3 specification asks for and the library does not look at.
func checkRequired(t *testing.T, document []byte) {
	t.Helper()
	var doc struct {
		SPDXVersion, DataLicense, SPDXID, Name, DocumentNamespace string
		CreationInfo                                              struct {
			Created  string
			Creators []string
		}
		Packages []map[string]any
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	for field, pair := range map[string][2]string{
		"spdxVersion": {doc.SPDXVersion, `^SPDX-2\.3$`},
		"dataLicense": {doc.DataLicense, `^CC0-1\.0$`},
		"SPDXID":      {doc.SPDXID, `^SPDXRef-DOCUMENT$`},
		"name":        {doc.Name, `^pgspan/postgres-17-v1$`},
		"namespace":   {doc.DocumentNamespace, `^https://[^#]+[0-9a-f]{64}$`},
		"created":     {doc.CreationInfo.Created, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`},
		"creators":    {strings.Join(doc.CreationInfo.Creators, ","), `^Organization: pgspan,Tool: pgspan-images$`},
	} {
		if !regexp.MustCompile(pair[1]).MatchString(pair[0]) {
			t.Errorf("%s: got %q, want %s", field, pair[0], pair[1])
		}
	}
	seen := map[string]bool{}
	for _, p := range doc.Packages {
		id, _ := p["SPDXID"].(string)
		if seen[id] || !regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`).MatchString(id) {
			t.Errorf("package id %q is not valid or not unique", id)
		}
		seen[id] = true
		if p["name"] == "" || p["downloadLocation"] != noAssertion || p["filesAnalyzed"] != false {
			t.Errorf("%s: a required field is missing: %v", id, p)
		}
	}
}
