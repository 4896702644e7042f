package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/tls/keypair"
)

// TestEd25519SignatureBreaksPasswordLogins is why such a server certificate is refused: PostgreSQL starts with it, and then
// no client that offers channel binding, which is every libpq over TLS by default, can log in by password.
func TestEd25519SignatureBreaksPasswordLogins(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			s := pgtest.New(t, major)
			dir := s.TempDir(t)
			ca, cert, key := ed25519Signed(t, s.Host)
			for file, content := range map[string][]byte{"ca.crt": ca, "server.crt": cert, "server.key": key} {
				s.WriteFile(t, dir+"/"+file, content, 0o600)
			}
			if _, err := Read(s.Outside(dir), []Want{server}, time.Now()); err == nil || !strings.Contains(err.Error(), "SCRAM channel binding") {
				t.Errorf("got %v, want a refusal", err)
			}
			s.Set("ssl", "on")
			s.Set("ssl_cert_file", dir+"/server.crt")
			s.Set("ssl_key_file", dir+"/server.key")
			s.Start(t)
			login := func(more string) error {
				dsn := "host=" + s.Host + " port=" + strconv.Itoa(s.Port) + " user=postgres password=" + pgtest.Password +
					" sslmode=verify-full sslrootcert=" + dir + "/ca.crt " + more
				_, err := s.Run(pgtest.Command{Path: s.BinDir() + "/psql", Args: []string{"-XqAt", "-d", dsn, "-c", "SELECT 1"}})
				return err
			}
			if err := login(""); err == nil || !strings.Contains(err.Error(), "digest for NID") {
				t.Errorf("got %v: if this PostgreSQL can do it, do not refuse it", err)
			}
			if err := login("channel_binding=disable"); err != nil {
				t.Errorf("without channel binding: %v", err)
			}
		})
	}
}

func ed25519Signed(t *testing.T, host string) (ca, cert, key []byte) {
	t.Helper()
	_, caKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.ParseIP(host)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	caDER, err := x509.CreateCertificate(rand.Reader, issuer, issuer, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, issuer, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	key = encode("PRIVATE KEY", keyDER)
	if _, err := keypair.ParseKey("server.key", key); err != nil {
		t.Fatal(err)
	}
	return encode("CERTIFICATE", caDER), encode("CERTIFICATE", leafDER), key
}
