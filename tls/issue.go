package sitecerts

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/tls/keypair"
)

// Common names. The database knows the login by the client certificate's common name; none of them is a superuser's.
const (
	ServerName      = "pgspan_server"
	ReplicationName = "pgspan_replication" // standbys and base backups
	KeeperName      = "pgspan_keeper"      // keepers among themselves, and pg_rewind
	PoolerName      = "pgspan_pooler"      // the poolers' own checks
	OperatorName    = "pgspan_operator"    // a person, through kubectl pgspan
)

type leaf struct {
	name       string // file name without .crt or .key
	commonName string
	use        x509.ExtKeyUsage
}

// The server certificate cannot be used as a client's, so that whoever reads a server key cannot log in with it.
func leafs() []leaf {
	return []leaf{
		{"server", ServerName, x509.ExtKeyUsageServerAuth},
		{"replication", ReplicationName, x509.ExtKeyUsageClientAuth},
		{"keeper", KeeperName, x509.ExtKeyUsageClientAuth},
		{"pooler", PoolerName, x509.ExtKeyUsageClientAuth},
		{"operator", OperatorName, x509.ExtKeyUsageClientAuth},
	}
}

// Generate makes a CA and everything it signs. The result holds the CA's key too; see [Bundle.Shared].
func Generate(spec Spec, now time.Time) (Bundle, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	authority, err := NewAuthority(spec, now)
	if err != nil {
		return nil, err
	}
	return Issue(authority, spec, now)
}

// Issue makes everything that a CA signs. The CA's key is in the result only if [NewAuthority] made it, or
// [Bundle.Authority] read it from a bundle; a person's own CA stays where the person keeps it.
func Issue(authority Authority, spec Spec, now time.Time) (Bundle, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	bundle := Bundle{CACert: authority.Trust}
	if authority.keyPEM != nil {
		bundle[CAKey] = authority.keyPEM
	}
	for _, l := range leafs() {
		cert, key, err := authority.issue(l, spec, now)
		if err != nil {
			return nil, fmt.Errorf("issue %s: %w", l.name, err)
		}
		bundle[l.name+".crt"], bundle[l.name+".key"] = cert, key
	}
	// What a CA may sign (names, uses, depth) is written in the certificates above it: verify as a peer will.
	if err := bundle.Check(now); err != nil {
		return nil, fmt.Errorf("the CA cannot be used: %w", err)
	}
	return bundle, nil
}

func (a Authority) issue(l leaf, spec Spec, now time.Time) (cert, key []byte, err error) {
	signer, key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"pgspan"}, CommonName: l.commonName},
		NotBefore:             now.Add(-Backdate).UTC(),
		NotAfter:              a.leafEnd(spec, now),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{l.use},
		BasicConstraintsValid: true,
	}
	if l.use == x509.ExtKeyUsageServerAuth {
		template.DNSNames, template.IPAddresses = spec.ServerNames()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Issuer, signer.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	cert = certPEM(parsed)
	for _, between := range a.Between {
		cert = append(cert, certPEM(between)...)
	}
	return cert, key, nil
}

// leafEnd is when a leaf issued now expires: a leaf that outlived its CA would look valid and be refused.
func (a Authority) leafEnd(spec Spec, now time.Time) time.Time {
	end := wholeSecond(now.Add(spec.leafLife()))
	if a.Ends.Before(end) {
		return a.Ends
	}
	return end
}

// wholeSecond rounds up to what a certificate can express.
func wholeSecond(t time.Time) time.Time { return t.UTC().Add(time.Second - 1).Truncate(time.Second) }

// Check verifies every certificate of the bundle as its peers will, and reports all that is wrong at once.
func (b Bundle) Check(now time.Time) error {
	trust, err := keypair.ParseTrust(CACert, b[CACert])
	if err != nil {
		return err
	}
	var problems []error
	for _, l := range leafs() {
		pair, err := b.pair(l)
		if err == nil {
			err = trust.Check(pair, l.use, now)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
