package sitecerts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/tls/keypair"
)

// Change is one certificate that was, or must be, issued anew, and why.
type Change struct {
	File string
	Why  string
}

func (c Change) String() string { return c.File + ": " + c.Why }

// RenewIfDue issues the leafs anew, all of them, if one of them must be: missing, unusable, with other names than
// the spec's, or past two thirds of its life. The CA stays. The changes say why; without any, the bundle is
// returned as it came. The bundle must hold the CA's key.
func RenewIfDue(bundle Bundle, spec Spec, now time.Time) (Bundle, []Change, error) {
	if err := spec.Validate(); err != nil {
		return nil, nil, err
	}
	authority, err := bundle.Authority(now)
	if err != nil {
		return nil, nil, err
	}
	due := Due(bundle, authority, spec, now)
	if len(due) == 0 {
		return bundle, nil, nil
	}
	next, err := Issue(authority, spec, now)
	if err != nil {
		return nil, nil, err
	}
	return next, due, nil
}

// Renew issues every leaf anew from the given CA, whatever its age, and says what changes with it.
//
// It may be another CA than before, or trust more or fewer, but not in one step: as long as the files of before and
// after are both about, each must be accepted by those who have the other. See [crossTrust].
func Renew(bundle Bundle, authority Authority, spec Spec, now time.Time) (Bundle, []Change, error) {
	next, err := Issue(authority, spec, now)
	if err != nil {
		return nil, nil, err
	}
	if err := crossTrust(bundle, next, now); err != nil {
		return nil, nil, err
	}
	changes := Due(bundle, authority, spec, now)
	for _, l := range leafs() {
		file := l.name + ".crt"
		if slices.ContainsFunc(changes, func(c Change) bool { return c.File == file }) {
			continue
		}
		changes = append(changes, Change{file, "renewed as asked"})
	}
	return next, changes, nil
}

// crossTrust refuses a renewal after which sites that have it and sites that do not have it yet would not accept
// each other. It lets pass the three steps by which a CA is replaced: trust both, issue from the new one, trust only
// the new one. A certificate that is not accepted before the renewal has nothing to lose by it.
func crossTrust(before, after Bundle, now time.Time) error {
	if len(before[CACert]) == 0 {
		return nil
	}
	oldTrust, err := keypair.ParseTrust(CACert, before[CACert])
	if err != nil {
		return err
	}
	newTrust, err := keypair.ParseTrust(CACert, after[CACert])
	if err != nil {
		return err
	}
	for _, l := range leafs() {
		if pair, err := after.pair(l); err != nil || oldTrust.Check(pair, l.use, now) != nil {
			return &keypair.Problem{File: CACert, What: "as it is now at the sites does not trust the CA that is to sign",
				Do: "first renew with both CAs in --ca-cert and the key of the old one, and roll that out to every site"}
		}
		pair, err := before.pair(l)
		if err != nil || oldTrust.Check(pair, l.use, now) != nil {
			continue
		}
		if newTrust.Check(pair, l.use, now) != nil {
			return &keypair.Problem{File: CACert, What: "would no longer trust the CA of the certificates now at the sites",
				Do: "first renew with both CAs in --ca-cert and the key of the new one, and roll that out to every site"}
		}
	}
	return nil
}

// Due judges which leafs must be issued anew by this CA, and why.
func Due(bundle Bundle, authority Authority, spec Spec, now time.Time) []Change {
	trust, err := keypair.ParseTrust(CACert, authority.Trust)
	if err != nil {
		return []Change{{CACert, err.Error()}}
	}
	var due []Change
	for _, l := range leafs() {
		if why := authority.due(bundle, trust, l, spec, now); why != "" {
			due = append(due, Change{l.name + ".crt", why})
		}
	}
	return due
}

func (a Authority) due(bundle Bundle, trust keypair.Trust, l leaf, spec Spec, now time.Time) string {
	pair, err := bundle.pair(l)
	if err == nil {
		err = trust.Check(pair, l.use, now)
	}
	var problem *keypair.Problem
	if errors.As(err, &problem) {
		return strings.TrimPrefix(problem.File+" "+problem.What, l.name+".crt ")
	}
	if err != nil {
		return err.Error()
	}
	cert := pair.Leaf()
	if cert.Subject.CommonName != l.commonName {
		return fmt.Sprintf("its common name is %q and must be %q", cert.Subject.CommonName, l.commonName)
	}
	if len(l.names(spec)) > 0 {
		if why := nameChanges(certNames(cert.DNSNames, cert.IPAddresses), l.names(spec)); why != "" {
			return why
		}
	}
	// A leaf that ends with its CA cannot gain by being renewed: without this, the renewals would follow each
	// other ever faster as the CA's end comes near.
	age, life := now.Sub(cert.NotBefore), cert.NotAfter.Sub(cert.NotBefore)
	if age >= life*2/3 && a.leafEnd(spec, now).After(cert.NotAfter) {
		return fmt.Sprintf("two thirds of its life are over, it ends on %s", cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return ""
}

// nameChanges says in words how the wanted names differ from the present ones, or nothing. Names that are no
// longer wanted count too: a site that was given up must not stay a valid server.
func nameChanges(have, want []string) string {
	var parts []string
	if added := without(want, have); len(added) > 0 {
		parts = append(parts, "names added: "+few(added))
	}
	if removed := without(have, want); len(removed) > 0 {
		parts = append(parts, "names removed: "+few(removed))
	}
	return strings.Join(parts, "; ")
}

// few lists the first names and counts the rest: one site makes dozens.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}

// SameNames is a spec with the names that the bundle's server certificate has now, for renewals by age alone, where somebody
// else (Helm, in mode generated) says which names there are.
func SameNames(bundle Bundle) (Spec, error) {
	certs, err := keypair.ParseCertificates("server.crt", bundle["server.crt"])
	if err != nil {
		return Spec{}, err
	}
	return Spec{ExtraNames: certNames(certs[0].DNSNames, certs[0].IPAddresses)}, nil
}

// NamesDiffer says in words how the server certificate's names differ from the spec's, or nothing.
func NamesDiffer(bundle Bundle, spec Spec) string {
	certs, err := keypair.ParseCertificates("server.crt", bundle["server.crt"])
	if err != nil {
		return err.Error()
	}
	return nameChanges(certNames(certs[0].DNSNames, certs[0].IPAddresses), certNames(spec.ServerNames()))
}
