// Package keypair reads certificates and private keys as people and tools write them and says, before anything
// is put in place, whether PostgreSQL and libpq will accept them.
//
// Two kinds of error come back. A [*Problem] means the files were read and are wrong: it names the file, what is
// wrong with it and what to do. Any other error means it could not be found out.
package keypair

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// Problem is a certificate or key that was read and cannot be used. It is fit to be shown to an operator as it is.
// No part of a private key ever enters it.
type Problem struct {
	File string // the file it is about
	What string // what is wrong with it
	Do   string // what to do about it
}

func (p *Problem) Error() string { return p.File + " " + p.What + ": " + p.Do }

// Pair is a private key and the certificate chain that goes with it, the owner's certificate first.
type Pair struct {
	File  string // the certificate's file, for messages
	Chain []*x509.Certificate
	Key   crypto.Signer
}

// Leaf is the owner's certificate.
func (p Pair) Leaf() *x509.Certificate { return p.Chain[0] }

// publicKey is what every public key of the standard library offers.
type publicKey interface{ Equal(crypto.PublicKey) bool }

// Matches tells whether the private key belongs to the certificate.
func Matches(key crypto.Signer, cert *x509.Certificate) bool {
	public, ok := key.Public().(publicKey)
	return ok && public.Equal(cert.PublicKey)
}

// Parse reads a certificate chain and its private key and refuses them unless they belong together.
func Parse(certFile string, certPEM []byte, keyFile string, keyPEM []byte) (Pair, error) {
	chain, err := ParseCertificates(certFile, certPEM)
	if err != nil {
		return Pair{}, err
	}
	key, err := ParseKey(keyFile, keyPEM)
	if err != nil {
		return Pair{}, err
	}
	pair := Pair{File: certFile, Chain: chain, Key: key}
	if Matches(key, chain[0]) {
		return pair, nil
	}
	for _, other := range chain[1:] {
		if Matches(key, other) {
			return Pair{}, &Problem{certFile, "has its certificates in the wrong order",
				"put the certificate that belongs to " + keyFile + " first and its issuers after it"}
		}
	}
	return Pair{}, &Problem{keyFile, "does not belong to " + certFile,
		"take both files from the same issue; after a rotation both must be replaced together"}
}

// ParseCertificates reads one or more PEM certificates.
func ParseCertificates(file string, data []byte) ([]*x509.Certificate, error) {
	const again = "store the certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----"
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &Problem{file, "is empty", again}
	}
	var certs []*x509.Certificate
	var others []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			others = append(others, block.Type)
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, &Problem{file, "holds a certificate that cannot be read (" + err.Error() + ")", "export it again"}
		}
		certs = append(certs, cert)
	}
	if len(certs) > 0 {
		return certs, nil
	}
	if len(others) > 0 {
		return nil, &Problem{file, "holds no certificate but " + strings.Join(others, ", "), "were the two files swapped? " + again}
	}
	if _, err := x509.ParseCertificate(data); err == nil {
		return nil, &Problem{file, "is in DER form", "convert it: openssl x509 -inform der -in " + file + " -out " + file + ".pem"}
	}
	return nil, &Problem{file, "is no PEM certificate", again}
}

// ParseKey reads one unencrypted private key: PKCS#8, SEC 1 (EC) or PKCS#1 (RSA).
func ParseKey(file string, data []byte) (crypto.Signer, error) {
	const again = "store the private key in PEM form, which begins with -----BEGIN PRIVATE KEY-----"
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &Problem{file, "is empty", again}
	}
	var others []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PARAMETERS" {
			continue // openssl ecparam -genkey writes the curve before the key
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			others = append(others, block.Type)
			continue
		}
		return parseKeyBlock(file, block)
	}
	if len(others) > 0 {
		return nil, &Problem{file, "holds no private key but " + strings.Join(others, ", "), "were the two files swapped? " + again}
	}
	return nil, &Problem{file, "is no PEM private key", again}
}

func parseKeyBlock(file string, block *pem.Block) (crypto.Signer, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, &Problem{file, "is protected by a passphrase, which nobody can type when a pod starts",
			"store it decrypted: openssl pkey -in " + file + " -out " + file + ".plain"}
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, &Problem{file, "is of the kind " + block.Type + ", which PostgreSQL cannot read",
			"make a PKCS#8 key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"}
	}
	if err != nil {
		// The parser's message is left out on purpose: it is about the bytes of a private key.
		return nil, &Problem{file, "holds a private key that cannot be read", "it may be cut short; export it again"}
	}
	return checkKeyKind(file, key)
}

// checkKeyKind refuses what OpenSSL's default security level refuses, or what no server here can use.
func checkKeyKind(file string, key any) (crypto.Signer, error) {
	const use = "use ECDSA P-256, or RSA of 2048 bits or more"
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < 2048 {
			return nil, &Problem{file, fmt.Sprintf("is an RSA key of only %d bits", k.N.BitLen()), use}
		}
		return k, nil
	case *ecdsa.PrivateKey:
		if k.Curve.Params().BitSize < 256 {
			return nil, &Problem{file, "is an ECDSA key on the weak curve " + k.Curve.Params().Name, use}
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	default:
		return nil, &Problem{file, fmt.Sprintf("is a key of a kind not usable for TLS (%T)", key), use}
	}
}
