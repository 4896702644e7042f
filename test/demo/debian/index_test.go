package debian

import (
	"reflect"
	"strings"
	"testing"
)

const index = `Package: libpq5
Version: 15.18-0+deb12u1
Installed-Size: 760
Maintainer: Debian PostgreSQL Maintainers
Architecture: amd64
Depends: libc6 (>= 2.34), libssl3 (>= 3.0.0) | libssl1.1, perl:any
Breaks: old [i386]
Description: PostgreSQL C client library
 with more lines
 .
 that do not matter
Section: libs
Priority: optional
Size: 190000
SHA256: abc

Package: empty
Version: 1
Architecture: all
`

func TestParse(t *testing.T) {
	var got []Package
	if err := Parse(strings.NewReader(index), func(p Package) error { got = append(got, p); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d packages, want 2 (the last stanza has no blank line after it)", len(got))
	}
	p := got[0]
	if p.Name != "libpq5" || p.InstalledKB != 760 || p.Bytes != 190000 || p.Summary != "PostgreSQL C client library" {
		t.Errorf("package = %+v", p)
	}
	want := []Dependency{
		{"Depends", 0, "libc6", ">= 2.34"}, {"Depends", 1, "libssl3", ">= 3.0.0"}, {"Depends", 1, "libssl1.1", ""},
		{"Depends", 2, "perl", ""}, {"Breaks", 0, "old", ""},
	}
	if !reflect.DeepEqual(p.Dependencies, want) {
		t.Errorf("dependencies = %+v, want %+v", p.Dependencies, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"stanza_without_version": "Package: x\n",
		"line_without_colon":     "Package x\n",
		"size_that_is_no_number": "Package: x\nVersion: 1\nSize: big\n",
	} {
		t.Run(name, func(t *testing.T) {
			if err := Parse(strings.NewReader(in), func(Package) error { return nil }); err == nil {
				t.Error("no error")
			}
		})
	}
}
