package keypair

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Trust is what a ca.crt says: the roots, and issuing CAs that stand beside them.
type Trust struct {
	File    string
	Roots   []*x509.Certificate // self-signed CAs
	Between []*x509.Certificate // CAs signed by another one
}

// ParseTrust reads a ca.crt. One self-signed root at least must be in it: OpenSSL, and so PostgreSQL and libpq,
// follow a chain to its root, while other TLS libraries are content with an intermediate. A file that only those
// accept would pass every check here and fail at the first login.
func ParseTrust(file string, data []byte) (Trust, error) {
	certs, err := ParseCertificates(file, data)
	if err != nil {
		return Trust{}, err
	}
	trust := Trust{File: file}
	for _, cert := range certs {
		switch {
		case !MaySign(cert):
			continue // a stray end certificate in a bundle does no harm
		case SelfSigned(cert):
			trust.Roots = append(trust.Roots, cert)
		default:
			trust.Between = append(trust.Between, cert)
		}
	}
	switch {
	case len(trust.Roots) > 0:
		return trust, nil
	case len(trust.Between) > 0:
		return Trust{}, &Problem{file, "holds an intermediate CA without its root", "append the root CA's certificate"}
	default:
		return Trust{}, &Problem{file, "holds no CA (basicConstraints CA:TRUE with key usage keyCertSign)",
			"put the certificate of the CA that signed the others there"}
	}
}

// MaySign tells whether a certificate is a CA's. A certificate without any key usage may be used for everything.
func MaySign(cert *x509.Certificate) bool {
	return cert.BasicConstraintsValid && cert.IsCA &&
		(cert.KeyUsage == 0 || cert.KeyUsage&x509.KeyUsageCertSign != 0)
}

// SelfSigned tells whether a CA certificate is its own issuer, by signature and not only by name.
func SelfSigned(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(cert) == nil
}

// Check says whether the pair will be accepted now, in the given use, by a peer that trusts only these CAs.
// It returns nil or a [*Problem].
func (t Trust) Check(pair Pair, use x509.ExtKeyUsage, now time.Time) error {
	leaf := pair.Leaf()
	if err := CheckDates(pair.File, leaf, now); err != nil {
		return err
	}
	if use == x509.ExtKeyUsageServerAuth && leaf.SignatureAlgorithm == x509.PureEd25519 {
		// tls-server-end-point has no hash for it: the server fails every SCRAM login with "could not find digest".
		return &Problem{pair.File, "is signed with Ed25519, with which PostgreSQL cannot do SCRAM channel binding",
			"have it signed by a CA whose key is ECDSA or RSA"}
	}
	options := x509.VerifyOptions{
		Roots: pool(t.Roots), Intermediates: pool(append(pair.Chain[1:len(pair.Chain):len(pair.Chain)], t.Between...)),
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use},
	}
	if _, err := leaf.Verify(options); err != nil {
		return t.explain(pair, use, now, err)
	}
	return nil
}

// CheckDates says whether a certificate is valid now.
func CheckDates(file string, cert *x509.Certificate, now time.Time) error {
	if now.After(cert.NotAfter) {
		return &Problem{file, fmt.Sprintf("expired on %s (%s)", day(cert.NotAfter), cert.Subject.CommonName),
			"renew it; with kubectl pgspan certs: run it again with --renew and apply the Secret"}
	}
	if now.Before(cert.NotBefore) {
		return &Problem{file, fmt.Sprintf("is not valid before %s (%s), and this node's clock says %s",
			day(cert.NotBefore), cert.Subject.CommonName, day(now)), "set the node's clock right or issue it anew"}
	}
	return nil
}

func (t Trust) explain(pair Pair, use x509.ExtKeyUsage, now time.Time, err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return &Problem{pair.File, fmt.Sprintf("is not signed by a CA in %s (its issuer is %q)", t.File, pair.Leaf().Issuer.CommonName),
			"take both from the same issue; if an intermediate CA signed it, append that CA's certificate to " + pair.File}
	}
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) {
		return &Problem{pair.File, "cannot be verified against " + t.File + " (" + err.Error() + ")", "issue it anew"}
	}
	switch invalid.Reason {
	case x509.Expired:
		return CheckDates("the CA of "+pair.File, invalid.Cert, now)
	case x509.IncompatibleUsage:
		return &Problem{pair.File, "may not be used as a " + useName(use) + " certificate (extended key usage)",
			"issue it, and its CA if that is limited, with " + useName(use) + "Auth"}
	case x509.CANotAuthorizedForThisName:
		return &Problem{pair.File, "has names that its CA may not sign (" + invalid.Detail + ")",
			"use a CA whose name constraints permit them"}
	default:
		return &Problem{pair.File, "cannot be verified against " + t.File + " (" + err.Error() + ")", "issue it anew"}
	}
}

func useName(use x509.ExtKeyUsage) string {
	if use == x509.ExtKeyUsageServerAuth {
		return "server"
	}
	return "client"
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
