package sitecerts

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pgspan/pgspan/tls/keypair"
)

// Keys of a Bundle besides those of the leafs (server.crt, server.key, …).
const (
	CACert = "ca.crt"
	CAKey  = "ca.key"
)

// Bundle is a set of PEM files by name, the way a Secret or a directory holds them.
type Bundle map[string][]byte

// Files lists the names of a complete bundle, without the CA's key.
func Files() []string {
	names := []string{CACert}
	for _, l := range leafs() {
		names = append(names, l.name+".crt", l.name+".key")
	}
	return names
}

// Shared is what the pods may see: everything but the CA's key. Whoever holds that key can be anybody.
func (b Bundle) Shared() Bundle {
	shared := Bundle{}
	for _, name := range Files() {
		if data, ok := b[name]; ok {
			shared[name] = data
		}
	}
	return shared
}

// CA is the CA's certificate and key alone, for a Secret of its own that no pod mounts.
func (b Bundle) CA() Bundle { return Bundle{CACert: b[CACert], CAKey: b[CAKey]} }

// Authority reads the CA of a bundle that holds its key.
func (b Bundle) Authority(now time.Time) (Authority, error) {
	if len(b[CAKey]) == 0 {
		return Authority{}, &keypair.Problem{File: CAKey, What: "is missing", Do: "give the CA that signed these certificates"}
	}
	authority, err := ParseAuthority(CACert, b[CACert], CAKey, b[CAKey], now)
	if err != nil {
		return Authority{}, err
	}
	authority.keyPEM = b[CAKey]
	return authority, nil
}

func (b Bundle) pair(l leaf) (keypair.Pair, error) {
	cert, key := l.name+".crt", l.name+".key"
	for _, name := range []string{cert, key} {
		if len(b[name]) == 0 {
			return keypair.Pair{}, &keypair.Problem{File: name, What: "is missing", Do: "issue the certificates again with --renew"}
		}
	}
	return keypair.Parse(cert, b[cert], key, b[key])
}

// Entry describes one certificate of a bundle.
type Entry struct {
	File      string
	Subject   string
	Names     int // how many names and addresses it is valid for; 0 for a client's
	NotBefore time.Time
	NotAfter  time.Time
}

// Days is how many whole days are left, negative when it has expired.
func (e Entry) Days(now time.Time) int {
	days := e.NotAfter.Sub(now).Hours() / 24
	if days < 0 {
		return int(days) - 1
	}
	return int(days)
}

// Entries describes the bundle's certificates: each CA of ca.crt, then the leafs. What is missing is left out.
func (b Bundle) Entries() ([]Entry, error) {
	var entries []Entry
	files := []string{CACert}
	for _, l := range leafs() {
		files = append(files, l.name+".crt")
	}
	for _, file := range files {
		if len(b[file]) == 0 {
			continue
		}
		certs, err := keypair.ParseCertificates(file, b[file])
		if err != nil {
			return nil, err
		}
		if file != CACert {
			certs = certs[:1] // the issuers that follow are reported once, as CAs
		}
		for _, cert := range certs {
			entries = append(entries, Entry{File: file, Subject: cert.Subject.CommonName,
				Names: len(cert.DNSNames) + len(cert.IPAddresses), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter})
		}
	}
	return entries, nil
}

// Manifest is the Secret for all sites. The namespace is left out when it is empty, for kubectl apply -n to say.
// The CA's key is never in it.
func (b Bundle) Manifest(name, namespace string) ([]byte, error) {
	data := map[string]string{}
	shared := b.Shared()
	for _, file := range slices.Sorted(maps.Keys(shared)) {
		data[file] = base64.StdEncoding.EncodeToString(shared[file])
	}
	metadata := map[string]any{"name": name, "labels": map[string]string{"app.kubernetes.io/part-of": "pgspan"}}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	manifest, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data,
	})
	if err != nil {
		return nil, fmt.Errorf("write the Secret's manifest: %w", err)
	}
	return manifest, nil
}
