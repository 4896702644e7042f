package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, s Subject) Leaf {
	t.Helper()
	leaf, err := a.Issue(s)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestLeafIsGoodForItsNamesOnly(t *testing.T) {
	authority, stranger := newAuthority(t), newAuthority(t)
	leaf := issue(t, authority, Subject{User: "server", Names: []string{"a1"}, IPs: []net.IP{net.ParseIP("198.18.1.1")}})
	pair, err := tls.X509KeyPair(leaf.Certificate, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		roots *Authority
		host  string
		good  bool
	}{
		"name":                  {authority, "a1", true},
		"address":               {authority, "198.18.1.1", true},
		"name_of_another_node":  {authority, "a2", false},
		"address_of_other_node": {authority, "198.18.1.2", false},
		"other_authority":       {stranger, "a1", false},
	} {
		t.Run(name, func(t *testing.T) {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(c.roots.PEM)
			_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: c.host})
			if (err == nil) != c.good {
				t.Errorf("got %v, want good=%v", err, c.good)
			}
		})
	}
}

func TestMergedKubeconfigHasOneContextPerSite(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, site := range []string{"a", "b"} {
		authority := newAuthority(t)
		file := filepath.Join(dir, site)
		leaf := issue(t, authority, Subject{User: "admin"})
		if err := WriteKubeconfig(file, site, "https://198.18.0."+site, authority.PEM, leaf); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	merged := filepath.Join(dir, "merged")
	if err := MergeKubeconfigs(merged, files); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(merged)
	if err != nil {
		t.Fatal(err)
	}
	if config.CurrentContext != "a" {
		t.Errorf("got current context %q, want the first site", config.CurrentContext)
	}
	for _, site := range []string{"a", "b"} {
		context := config.Contexts[site]
		if context == nil {
			t.Fatalf("context %s is missing", site)
		}
		if got, want := config.Clusters[context.Cluster].Server, "https://198.18.0."+site; got != want {
			t.Errorf("context %s: got server %s, want %s", site, got, want)
		}
	}
	info, err := os.Stat(merged)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %s of a file with keys, want 0600", info.Mode().Perm())
	}
}
