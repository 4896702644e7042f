package sitecerts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/pgspan/pgspan/tls/keypair"
)

// Authority is a CA that can sign.
type Authority struct {
	Issuer  *x509.Certificate   // the certificate that belongs to the key
	Between []*x509.Certificate // from the issuer up to below its root: sent along with each leaf; empty when the issuer is a root
	Trust   []byte              // PEM of the roots: ca.crt
	Ends    time.Time           // when the first certificate of the issuer's chain expires: no leaf lives longer
	key     crypto.Signer
	keyPEM  []byte // nil when the CA is a person's own: its key is not kept by us
}

// NewAuthority makes a CA. Its name carries a random part, so that two CAs made for one release can be told apart.
func NewAuthority(spec Spec, now time.Time) (Authority, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return Authority{}, fmt.Errorf("make the CA's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return Authority{}, fmt.Errorf("make the CA's serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"pgspan"}, CommonName: "pgspan CA " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore:             now.Add(-Backdate).UTC(),
		NotAfter:              wholeSecond(now.Add(spec.caLife())),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs leafs and no further CA
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Authority{}, fmt.Errorf("sign the CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Authority{}, fmt.Errorf("read the CA back: %w", err)
	}
	return Authority{Issuer: cert, Trust: certPEM(cert), Ends: cert.NotAfter, key: key, keyPEM: keyPEM}, nil
}

// ParseAuthority reads a CA from its certificate file, in any order and with any number of intermediates and
// further trusted roots, and its key. It refuses with a [keypair.Problem] what could not sign for PostgreSQL.
func ParseAuthority(certFile string, certData []byte, keyFile string, keyData []byte, now time.Time) (Authority, error) {
	trust, err := keypair.ParseTrust(certFile, certData)
	if err != nil {
		return Authority{}, err
	}
	key, err := keypair.ParseKey(keyFile, keyData)
	if err != nil {
		return Authority{}, err
	}
	issuer, err := issuerOf(certFile, certData, keyFile, key)
	if err != nil {
		return Authority{}, err
	}
	if err := keypair.CheckDates(certFile, issuer, now); err != nil {
		return Authority{}, err
	}
	if issuer.PublicKeyAlgorithm == x509.Ed25519 {
		return Authority{}, &keypair.Problem{File: keyFile, What: "is an Ed25519 key, with whose signatures PostgreSQL cannot do SCRAM channel binding",
			Do: "use a CA whose key is ECDSA or RSA"}
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	authority := Authority{Issuer: issuer, Ends: issuer.NotAfter, key: key}
	for _, root := range trust.Roots {
		options.Roots.AddCert(root)
		authority.Trust = append(authority.Trust, certPEM(root)...)
	}
	for _, between := range trust.Between {
		options.Intermediates.AddCert(between)
	}
	chains, err := issuer.Verify(options)
	if err != nil {
		return Authority{}, &keypair.Problem{File: certFile, What: "does not lead from the signing CA to its root (" + err.Error() + ")",
			Do: "put the signing CA, every CA above it, and the root into it, all of them still valid"}
	}
	chain := chains[0]
	for i, cert := range chain {
		if cert.NotAfter.Before(authority.Ends) {
			authority.Ends = cert.NotAfter
		}
		if i < len(chain)-1 {
			authority.Between = append(authority.Between, cert)
		}
	}
	return authority, nil
}

// issuerOf finds the certificate that belongs to the CA's key.
func issuerOf(certFile string, certData []byte, keyFile string, key crypto.Signer) (*x509.Certificate, error) {
	certs, err := keypair.ParseCertificates(certFile, certData)
	if err != nil {
		return nil, err
	}
	for _, cert := range certs {
		if !keypair.Matches(key, cert) {
			continue
		}
		if keypair.MaySign(cert) {
			return cert, nil
		}
		return nil, &keypair.Problem{File: certFile, What: fmt.Sprintf("holds %q, which belongs to %s but is not a CA", cert.Subject.CommonName, keyFile),
			Do: "give the CA's own certificate and key"}
	}
	return nil, &keypair.Problem{File: keyFile, What: "does not belong to any certificate in " + certFile,
		Do: "give the CA's certificate and its key from the same issue"}
}

func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// newSerial returns 127 random bits with the highest one set, so that its length never varies.
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	return serial.SetBit(serial, 126, 1), nil
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
