package keypair

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type issued struct {
	cert    *x509.Certificate
	key     crypto.Signer
	certPEM []byte
	keyPEM  []byte
}

func p256(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t *testing.T, template x509.Certificate, key crypto.Signer, by *issued) issued {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = t0.Add(-time.Hour), t0.AddDate(1, 0, 0)
	}
	parent, signer := &template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{cert, key, encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER)}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func caTemplate(name string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
}

func leafTemplate(name string, use ...x509.ExtKeyUsage) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: use}
}

func TestKeyIsRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	p224DER, _ := x509.MarshalECPrivateKey(p224)
	good := issue(t, leafTemplate("a"), p256(t), nil)
	legacy := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte{1}})
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                         {[]byte(" \n"), "is empty"},
		"no_pem":                        {[]byte("hello"), "is no PEM private key"},
		"certificate_instead":           {good.certPEM, "holds no private key but CERTIFICATE"},
		"encrypted_pkcs8":               {encode("ENCRYPTED PRIVATE KEY", []byte{1}), "passphrase"},
		"encrypted_the_old_way":         {legacy, "passphrase"},
		"openssh_key":                   {encode("OPENSSH PRIVATE KEY", []byte{1}), "of the kind OPENSSH PRIVATE KEY"},
		"rsa_1024":                      {encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak)), "only 1024 bits"},
		"weak_curve":                    {encode("EC PRIVATE KEY", p224DER), "weak curve P-224"},
		"cut_short":                     {encode("PRIVATE KEY", []byte{0x30, 0x81}), "cannot be read"},
		"file_cut_in_the_middle_of_pem": {good.keyPEM[:60], "is no PEM private key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseKey("server.key", tc.data)
			var problem *Problem
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "server.key ") || problem.Do == "" {
				t.Errorf("got %v, want a problem with %q", err, tc.want)
			}
		})
	}
}

func TestKeyIsAccepted(t *testing.T) {
	ec, _ := p256(t).(*ecdsa.PrivateKey)
	sec1, _ := x509.MarshalECPrivateKey(ec)
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"sec1_after_its_parameters": slices.Concat(encode("EC PARAMETERS", []byte{6, 0}), encode("EC PRIVATE KEY", sec1)),
		"pkcs1":                     encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(strong)),
		"text_before_the_pem":       slices.Concat([]byte("Bag Attributes\n"), encode("EC PRIVATE KEY", sec1)),
	} {
		if _, err := ParseKey("server.key", data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPairIsRefused(t *testing.T) {
	ca := issue(t, caTemplate("ca"), p256(t), nil)
	leaf, other := issue(t, leafTemplate("a"), p256(t), &ca), issue(t, leafTemplate("b"), p256(t), &ca)
	for name, tc := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"key_of_another_certificate": {leaf.certPEM, other.keyPEM, "server.key does not belong to server.crt"},
		"issuer_before_the_leaf":     {slices.Concat(ca.certPEM, leaf.certPEM), leaf.keyPEM, "wrong order"},
		"files_swapped":              {leaf.keyPEM, leaf.certPEM, "were the two files swapped"},
		"der_certificate":            {leaf.cert.Raw, leaf.keyPEM, "is in DER form"},
		"damaged_certificate":        {encode("CERTIFICATE", leaf.cert.Raw[:100]), leaf.keyPEM, "cannot be read"},
		"certificate_is_text":        {[]byte("x"), leaf.keyPEM, "is no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("server.crt", tc.cert, "server.key", tc.key)
			var problem *Problem
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a problem with %q", err, tc.want)
			}
		})
	}
}

func TestTrustCheck(t *testing.T) {
	const server, client = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	ca, stranger := issue(t, caTemplate("ca"), p256(t), nil), issue(t, caTemplate("ca"), p256(t), nil)
	between := issue(t, caTemplate("between"), p256(t), &ca)
	past := caTemplate("past")
	past.NotBefore, past.NotAfter = t0.AddDate(-2, 0, 0), t0.Add(-time.Hour)
	pastCA := issue(t, past, p256(t), nil)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	edCA := issue(t, caTemplate("ed"), edKey, nil)
	dated := func(from, to time.Time) x509.Certificate {
		template := leafTemplate("a", server)
		template.NotBefore, template.NotAfter = from, to
		return template
	}
	serverLeaf := issue(t, leafTemplate("a", server), p256(t), &ca)
	deep := issue(t, leafTemplate("a", server), p256(t), &between)
	for name, tc := range map[string]struct {
		trust  []byte
		leaf   issued
		behind []byte // what follows the leaf in its file
		use    x509.ExtKeyUsage
		want   string // empty = accepted
	}{
		"good":                                  {trust: ca.certPEM, leaf: serverLeaf, use: server},
		"old_and_new_ca_in_one_file":            {trust: slices.Concat(pastCA.certPEM, stranger.certPEM, ca.certPEM), leaf: serverLeaf, use: server},
		"intermediate_behind_the_leaf":          {trust: ca.certPEM, leaf: deep, behind: between.certPEM, use: server},
		"intermediate_in_ca_crt":                {trust: slices.Concat(ca.certPEM, between.certPEM), leaf: deep, use: server},
		"intermediate_missing":                  {trust: ca.certPEM, leaf: deep, use: server, want: "not signed by a CA in ca.crt"},
		"another_ca_of_the_same_name":           {trust: stranger.certPEM, leaf: serverLeaf, use: server, want: "not signed by a CA in ca.crt"},
		"expired":                               {trust: ca.certPEM, leaf: issue(t, dated(t0.AddDate(-1, 0, 0), t0.Add(-time.Minute)), p256(t), &ca), use: server, want: "server.crt expired on 2026-03-01 11:59 UTC"},
		"not_yet_valid":                         {trust: ca.certPEM, leaf: issue(t, dated(t0.Add(time.Minute), t0.AddDate(1, 0, 0)), p256(t), &ca), use: server, want: "this node's clock says 2026-03-01 12:00 UTC"},
		"ca_expired":                            {trust: pastCA.certPEM, leaf: issue(t, leafTemplate("a", server), p256(t), &pastCA), use: server, want: "the CA of server.crt expired"},
		"server_used_as_client":                 {trust: ca.certPEM, leaf: serverLeaf, use: client, want: "may not be used as a client certificate"},
		"client_used_as_server":                 {trust: ca.certPEM, leaf: issue(t, leafTemplate("a", client), p256(t), &ca), use: server, want: "may not be used as a server certificate"},
		"no_extended_usage_is_any_usage":        {trust: ca.certPEM, leaf: issue(t, leafTemplate("a"), p256(t), &ca), use: client},
		"server_signed_with_ed25519":            {trust: edCA.certPEM, leaf: issue(t, leafTemplate("a", server), p256(t), &edCA), use: server, want: "SCRAM channel binding"},
		"client_signed_with_ed25519_is_no_harm": {trust: edCA.certPEM, leaf: issue(t, leafTemplate("a", client), p256(t), &edCA), use: client},
	} {
		t.Run(name, func(t *testing.T) {
			trust, err := ParseTrust("ca.crt", tc.trust)
			if err != nil {
				t.Fatal(err)
			}
			pair, err := Parse("server.crt", slices.Concat(tc.leaf.certPEM, tc.behind), "server.key", tc.leaf.keyPEM)
			if err != nil {
				t.Fatal(err)
			}
			err = trust.Check(pair, tc.use, t0)
			if tc.want == "" {
				if err != nil {
					t.Errorf("got %v, want it accepted", err)
				}
				return
			}
			var problem *Problem
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a problem with %q", err, tc.want)
			}
		})
	}
}

func TestTrustIsRefused(t *testing.T) {
	ca := issue(t, caTemplate("ca"), p256(t), nil)
	between := issue(t, caTemplate("between"), p256(t), &ca)
	notSigning := caTemplate("ca")
	notSigning.KeyUsage = x509.KeyUsageDigitalSignature
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"intermediate_alone":           {between.certPEM, "without its root"},
		"self_signed_that_is_no_ca":    {issue(t, leafTemplate("a"), p256(t), nil).certPEM, "holds no CA"},
		"key_usage_forbids_signatures": {issue(t, notSigning, p256(t), nil).certPEM, "holds no CA"},
		"empty":                        {nil, "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseTrust("ca.crt", tc.data); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a problem with %q", err, tc.want)
			}
		})
	}
}
