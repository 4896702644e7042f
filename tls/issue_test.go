package sitecerts

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pgspan/pgspan/tls/keypair"
)

func generate(t *testing.T, spec Spec, now time.Time) Bundle {
	t.Helper()
	bundle, err := Generate(spec, now)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func leafCert(t *testing.T, bundle Bundle, name string) *x509.Certificate {
	t.Helper()
	certs, err := keypair.ParseCertificates(name, bundle[name+".crt"])
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}

func TestGenerate(t *testing.T) {
	bundle := generate(t, twoSites(), t0)
	if got, want := len(bundle), len(Files())+1; got != want {
		t.Fatalf("got %d files, want %d", got, want)
	}
	ca := leafCert(t, Bundle{"ca.crt": bundle[CACert]}, "ca")
	if got, want := ca.NotAfter, t0.Add(DefaultCALife).Truncate(time.Second).Add(time.Second); !got.Equal(want) {
		t.Errorf("CA ends %s, want %s", got, want)
	}
	serials := map[string]bool{ca.SerialNumber.String(): true}
	for _, l := range leafs() {
		cert := leafCert(t, bundle, l.name)
		if cert.Subject.CommonName != l.commonName {
			t.Errorf("%s: common name %q, want %q", l.name, cert.Subject.CommonName, l.commonName)
		}
		if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{l.use}) || cert.KeyUsage != x509.KeyUsageDigitalSignature || cert.IsCA {
			t.Errorf("%s: uses %v %v CA %v", l.name, cert.ExtKeyUsage, cert.KeyUsage, cert.IsCA)
		}
		if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("%s: key is no ECDSA P-256 key", l.name)
		}
		if !cert.NotBefore.Before(t0.Add(-59*time.Minute)) || !cert.NotAfter.After(t0.Add(DefaultLeafLife-time.Second)) {
			t.Errorf("%s: valid from %s to %s", l.name, cert.NotBefore, cert.NotAfter)
		}
		if serials[cert.SerialNumber.String()] {
			t.Errorf("%s: serial number used twice", l.name)
		}
		serials[cert.SerialNumber.String()] = true
	}
	server := leafCert(t, bundle, "server")
	for _, name := range []string{"db-rw.pg", "db-primary-0.db-members.pg.svc", "198.18.1.200", "2001:db8::5", "orders-ro.data.svc.ait.example"} {
		if err := server.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"198.18.1.201", "db-rw.other", "a.b.db-members.pg.svc", "db-primary-0.db-rw.pg"} {
		if server.VerifyHostname(name) == nil {
			t.Errorf("%s must not be accepted", name)
		}
	}
}

func TestServerKeyCannotLogIn(t *testing.T) {
	bundle := generate(t, twoSites(), t0)
	trust, _ := keypair.ParseTrust(CACert, bundle[CACert])
	pair, _ := bundle.pair(leafs()[0])
	if err := trust.Check(pair, x509.ExtKeyUsageClientAuth, t0); err == nil || !strings.Contains(err.Error(), "client certificate") {
		t.Errorf("got %v, want a refusal as a client", err)
	}
}

func TestCAKeyNeverInTheSecret(t *testing.T) {
	bundle := generate(t, twoSites(), t0)
	text, err := bundle.Manifest("db-tls", "pg")
	if err != nil {
		t.Fatal(err)
	}
	var secret struct {
		Kind, Type string
		Metadata   struct{ Name, Namespace string }
		Data       map[string][]byte
	}
	if err := yaml.Unmarshal(text, &secret); err != nil {
		t.Fatal(err)
	}
	if secret.Kind != "Secret" || secret.Metadata.Name != "db-tls" || secret.Metadata.Namespace != "pg" {
		t.Errorf("got %+v", secret.Metadata)
	}
	if len(secret.Data) != len(Files()) || !bytes.Equal(secret.Data["server.key"], bundle["server.key"]) {
		t.Errorf("the Secret holds %d files, want %d as they are", len(secret.Data), len(Files()))
	}
	for name, data := range secret.Data {
		if bytes.Contains(data, bytes.TrimSpace(bundle[CAKey])) || name == CAKey {
			t.Errorf("%s holds the CA's key", name)
		}
	}
}

// ownCA makes a chain root → intermediate as a company's PKI would.
type ownCA struct {
	rootPEM, betweenPEM, rootKey, betweenKey []byte
}

func makeOwnCA(t *testing.T, change func(root, between *x509.Certificate)) ownCA {
	t.Helper()
	ca := func(name string, serial int64) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: t0.AddDate(-1, 0, 0),
			NotAfter: t0.AddDate(5, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	}
	root, between := ca("company root", 1), ca("database CA", 2)
	if change != nil {
		change(root, between)
	}
	rootKey, rootKeyPEM, _ := newKey()
	betweenKey, betweenKeyPEM, _ := newKey()
	sign := func(template, parent *x509.Certificate, public crypto.PublicKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, rootKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return ownCA{sign(root, root, rootKey.Public()), sign(between, root, betweenKey.Public()), rootKeyPEM, betweenKeyPEM}
}

func (o ownCA) parse(now time.Time) (Authority, error) {
	return ParseAuthority("ca.pem", slices.Concat(o.rootPEM, o.betweenPEM), "ca-key.pem", o.betweenKey, now)
}

func TestOwnIntermediateCA(t *testing.T) {
	own := makeOwnCA(t, nil)
	authority, err := own.parse(t0)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := Issue(authority, twoSites(), t0)
	if err != nil {
		t.Fatal(err)
	}
	if _, kept := bundle[CAKey]; kept {
		t.Error("a person's own CA key must not be copied")
	}
	if !bytes.Equal(bundle[CACert], own.rootPEM) {
		t.Error("ca.crt must be the root alone")
	}
	if !bytes.HasSuffix(bundle["server.crt"], own.betweenPEM) || bytes.Contains(bundle["server.crt"], own.rootPEM) {
		t.Error("server.crt must be followed by the intermediate and not by the root")
	}
}

func TestOwnCAIsRefused(t *testing.T) {
	good := makeOwnCA(t, nil)
	other := makeOwnCA(t, nil)
	ours := generate(t, twoSites(), t0)
	expired := makeOwnCA(t, func(root, _ *x509.Certificate) { root.NotAfter = t0.Add(-time.Hour) })
	expiredBetween := makeOwnCA(t, func(_, between *x509.Certificate) { between.NotAfter = t0.Add(-time.Hour) })
	noSigning := makeOwnCA(t, func(_, between *x509.Certificate) { between.KeyUsage = x509.KeyUsageCRLSign })
	both := slices.Concat(good.rootPEM, good.betweenPEM)
	for name, tc := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"key_of_another_ca":           {both, other.betweenKey, "does not belong to any certificate"},
		"intermediate_without_root":   {good.betweenPEM, good.betweenKey, "without its root"},
		"root_of_another_chain":       {slices.Concat(other.rootPEM, good.betweenPEM), good.betweenKey, "does not lead"},
		"root_expired":                {slices.Concat(expired.rootPEM, expired.betweenPEM), expired.betweenKey, "does not lead"},
		"intermediate_expired":        {slices.Concat(expiredBetween.rootPEM, expiredBetween.betweenPEM), expiredBetween.betweenKey, "expired on 2026-03-01"},
		"ca_may_not_sign":             {slices.Concat(noSigning.rootPEM, noSigning.betweenPEM), noSigning.betweenKey, "is not a CA"},
		"server_certificate_as_ca":    {slices.Concat(ours[CACert], ours["server.crt"]), ours["server.key"], "is not a CA"},
		"empty_certificate":           {nil, good.betweenKey, "ca.pem is empty"},
		"certificate_instead_of_key":  {both, good.betweenPEM, "holds no private key"},
		"key_instead_of_certificate":  {good.betweenKey, both, "holds no certificate"},
		"key_protected_by_passphrase": {both, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "passphrase"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAuthority("ca.pem", tc.cert, "ca-key.pem", tc.key, t0)
			var problem *keypair.Problem
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a problem with %q", err, tc.want)
			}
		})
	}
}

func TestOwnCAMayNotSignTheseNames(t *testing.T) {
	own := makeOwnCA(t, func(_, between *x509.Certificate) {
		between.PermittedDNSDomains, between.PermittedDNSDomainsCritical = []string{"corp.example"}, true
	})
	authority, err := own.parse(t0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Issue(authority, twoSites(), t0); err == nil || !strings.Contains(err.Error(), "names that its CA may not sign") {
		t.Errorf("got %v, want a refusal by name constraints", err)
	}
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	bundle := generate(t, twoSites(), t0)
	if err := WriteDirectory(dir, bundle); err != nil {
		t.Fatal(err)
	}
	got, err := ReadDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != len(bundle) || len(got) != len(bundle) {
		t.Errorf("the directory holds %d files of which %d were read, want %d", len(entries), len(got), len(bundle))
	}
	for name := range bundle {
		if !bytes.Equal(got[name], bundle[name]) {
			t.Errorf("%s came back changed", name)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", name, info.Mode(), err)
		}
	}
}
