// Package keys puts certificates and private keys where PostgreSQL and libpq accept them.
//
// A Secret is mounted with the modes and owners that Kubernetes gives it, and PostgreSQL does not start with a key that
// others may read; libpq refuses such a key too. So the files are copied into a memory volume, 0600 and owned by this
// process's uid, whatever that is. They never lie inside the data directory, where a base backup would carry them on.
//
// Nothing is put in place before everything was checked: pairs, dates, chains, uses. And the set is replaced as a whole, by
// one rename, in the way the kubelet replaces a Secret's files: the names lead through the link ..data into a directory
// per set. A rotation that is half done, or wrong, leaves the good set where it is.
//
// What was read and is wrong comes back as [keypair.Problem] (several are joined); any other error means that it
// could not be found out.
package keys

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/tls/keypair"
)

// CA is the file of the CAs that all sites trust.
const CA = "ca.crt"

// Want is a pair that a container needs: <Name>.crt and <Name>.key, and what the certificate must be good for.
type Want struct {
	Name string
	Use  x509.ExtKeyUsage
}

// The pairs of the Secret. Server is what the server shows; the others log in.
var (
	server      = Want{"server", x509.ExtKeyUsageServerAuth}
	replication = Want{"replication", x509.ExtKeyUsageClientAuth}
	keeper      = Want{"keeper", x509.ExtKeyUsageClientAuth}
	pooler      = Want{"pooler", x509.ExtKeyUsageClientAuth}
)

// Database lists what a database container needs: the server's own pair, the standby's login, and pg_rewind's.
func Database() []Want { return []Want{server, replication, keeper} }

// Keeper lists what keeper needs to serve and to call other keepers.
func Keeper() []Want { return []Want{server, keeper} }

// Pooler lists what a pooler needs to serve its clients and to log in at the database.
func Pooler() []Want { return []Want{server, pooler} }

// Certificate describes one certificate of a set.
type Certificate struct {
	File      string
	Subject   string
	NotBefore time.Time
	NotAfter  time.Time
}

// Days is how many days are left, negative after the end.
func (c Certificate) Days(now time.Time) float64 { return c.NotAfter.Sub(now).Hours() / 24 }

// Set is a set of files that has passed every check.
type Set struct {
	files map[string][]byte
	trust keypair.Trust
	pairs []keypair.Pair // in the order of the wants
	wants []Want
}

// Certificates describes the set: the CA of ca.crt that ends last, then the pairs in the order asked for.
func (s Set) Certificates() []Certificate {
	// Roots stand in ca.crt together while a CA is being replaced; an old one that has ended harms nobody.
	last := s.trust.Roots[0]
	for _, root := range s.trust.Roots {
		if root.NotAfter.After(last.NotAfter) {
			last = root
		}
	}
	certificates := []Certificate{describe(CA, last)}
	for _, pair := range s.pairs {
		certificates = append(certificates, describe(pair.File, pair.Leaf()))
	}
	return certificates
}

func describe(file string, cert *x509.Certificate) Certificate {
	return Certificate{File: file, Subject: cert.Subject.CommonName, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
}

// Pair returns a pair for crypto/tls, with its chain. It reports false for one that was not asked for.
func (s Set) Pair(name string) (tls.Certificate, bool) {
	for i, want := range s.wants {
		if want.Name != name {
			continue
		}
		certificate := tls.Certificate{PrivateKey: s.pairs[i].Key, Leaf: s.pairs[i].Leaf()}
		for _, cert := range s.pairs[i].Chain {
			certificate.Certificate = append(certificate.Certificate, cert.Raw)
		}
		return certificate, true
	}
	return tls.Certificate{}, false
}

// Roots are the CAs that peers are verified with.
func (s Set) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	for _, root := range s.trust.Roots {
		roots.AddCert(root)
	}
	return roots
}

// Anchors are the CAs of ca.crt, with the issuing ones that stand beside the roots: a peer may send its certificate without them.
func (s Set) Anchors() *x509.CertPool {
	anchors := s.Roots()
	for _, between := range s.trust.Between {
		anchors.AddCert(between)
	}
	return anchors
}

// Read reads a set and checks it. It works for a mounted Secret and for a directory that [Place] has filled: by the latter
// a caller whose rotation was refused finds out whether the set in place is still good.
func Read(dir string, want []Want, now time.Time) (Set, error) {
	files, err := snapshot(dir, names(want))
	if err != nil {
		return Set{}, err
	}
	return check(dir, files, want, now)
}

// check judges the files as PostgreSQL, libpq and their peers will, and reports all that is wrong at once.
func check(dir string, files map[string][]byte, want []Want, now time.Time) (Set, error) {
	var problems []error
	for _, name := range names(want) {
		if _, ok := files[name]; !ok {
			problems = append(problems, &keypair.Problem{File: name, What: "is missing from " + dir,
				Do: "add it to the Secret; kubectl pgspan certs makes a complete one"})
		}
	}
	if len(problems) > 0 {
		return Set{}, errors.Join(problems...)
	}
	trust, err := keypair.ParseTrust(CA, files[CA])
	if err != nil {
		return Set{}, err
	}
	set := Set{files: files, trust: trust, wants: want}
	for _, w := range want {
		pair, err := keypair.Parse(w.Name+".crt", files[w.Name+".crt"], w.Name+".key", files[w.Name+".key"])
		if err == nil {
			err = trust.Check(pair, w.Use, now)
		}
		if err != nil {
			problems = append(problems, err)
		}
		set.pairs = append(set.pairs, pair)
	}
	if len(problems) > 0 {
		return Set{}, errors.Join(problems...)
	}
	return set, nil
}

// Describe reads only the dates, without judging, so that the days left can be shown also when they are negative. Each pair
// asked for is in the answer, or the error says why it cannot be.
func Describe(dir string, want []Want) ([]Certificate, error) {
	files, err := snapshot(dir, names(want))
	if err != nil {
		return nil, err
	}
	var certificates []Certificate
	for _, w := range want {
		file := w.Name + ".crt"
		certs, err := keypair.ParseCertificates(file, files[file])
		if err != nil {
			return nil, fmt.Errorf("read dates of certificates: %w", err)
		}
		certificates = append(certificates, describe(file, certs[0]))
	}
	return certificates, nil
}

func names(want []Want) []string {
	files := []string{CA}
	for _, w := range want {
		files = append(files, w.Name+".crt", w.Name+".key")
	}
	return files
}
