package keys

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// mount is a Secret's volume, changed the way a kubelet changes it.
type mount struct {
	t       testing.TB
	dir     string
	mode    os.FileMode
	version int
}

func newMount(t testing.TB, files sitecerts.Bundle) *mount {
	t.Helper()
	m := &mount{t: t, dir: filepath.Join(t.TempDir(), "tls"), mode: 0o440}
	m.must(os.Mkdir(m.dir, 0o755))
	m.rotate(files)
	return m
}

func (m *mount) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// rotate writes a new directory, moves ..data to it by one rename, and only then removes the old one.
func (m *mount) rotate(files sitecerts.Bundle) {
	m.t.Helper()
	m.version++
	version := fmt.Sprintf("..2026_03_01_%09d", m.version)
	m.must(os.Mkdir(filepath.Join(m.dir, version), 0o755))
	for name, content := range files {
		m.must(os.WriteFile(filepath.Join(m.dir, version, name), content, m.mode))
		m.must(os.Chmod(filepath.Join(m.dir, version, name), m.mode))
	}
	old, _ := os.Readlink(filepath.Join(m.dir, data))
	m.must(os.Symlink(version, filepath.Join(m.dir, data+"_tmp")))
	m.must(os.Rename(filepath.Join(m.dir, data+"_tmp"), filepath.Join(m.dir, data)))
	for name := range files {
		if _, err := os.Lstat(filepath.Join(m.dir, name)); err != nil {
			m.must(os.Symlink(filepath.Join(data, name), filepath.Join(m.dir, name)))
		}
	}
	if old != "" {
		m.must(os.RemoveAll(filepath.Join(m.dir, old)))
	}
}

// oneSite is what most tests place.
func oneSite() sitecerts.Spec {
	return sitecerts.Spec{Sites: []sitecerts.Site{{Host: "198.18.1.200", Fullname: "db", Namespaces: []string{"pg"}, ClusterDomain: "cluster.local"}}}
}

func generate(t testing.TB, spec sitecerts.Spec, now time.Time) sitecerts.Bundle {
	t.Helper()
	bundle, err := sitecerts.Generate(spec, now)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// renew reissues the leafs from the bundle's own CA, as the yearly renewal does.
func renew(t testing.TB, bundle sitecerts.Bundle, spec sitecerts.Spec, now time.Time) sitecerts.Bundle {
	t.Helper()
	ca, err := bundle.Authority(now)
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := sitecerts.Renew(bundle, ca, spec, now)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// with returns a copy of the bundle in which some files are another bundle's.
func with(bundle, other sitecerts.Bundle, names ...string) sitecerts.Bundle {
	mixed := maps.Clone(bundle)
	for _, name := range names {
		mixed[name] = other[name]
	}
	return mixed
}
