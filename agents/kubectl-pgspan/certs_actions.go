package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"
)

type action int

const (
	create action = iota // no certificates yet
	renew                // issue anew from the same CA
	show                 // leave them as they are; print the Secret or the report
)

// decide says what to do with what the directory holds. Certificates are replaced only by --renew: a second run that
// made another CA would part the sites from each other.
func (f certsFlags) decide(present sitecerts.Bundle) (action, error) {
	complete := true
	for _, name := range sitecerts.Files() {
		complete = complete && len(present[name]) > 0
	}
	switch {
	case f.status && len(present) == 0:
		return 0, fmt.Errorf("there are no certificates in %s", f.out)
	case f.status:
		return show, nil
	case f.renew && len(present) == 0:
		return 0, fmt.Errorf("there are no certificates in %s to renew: leave out --renew to make them", f.out)
	case f.renew:
		return renew, nil
	case len(present) == 0:
		return create, nil
	case complete && f.secret != "" && f.caCert == "":
		return show, nil
	case complete:
		return 0, fmt.Errorf("%s already holds certificates: add --renew to issue them anew with the same CA, --secret to print the Secret, or give another --out", f.out)
	default:
		return 0, fmt.Errorf("%s holds some of the files only: add --renew to issue the certificates anew with the CA in it, or give another --out", f.out)
	}
}

func (f certsFlags) do(act action, present sitecerts.Bundle, spec sitecerts.Spec, now time.Time, report io.Writer) (sitecerts.Bundle, error) {
	if act == show {
		return present, f.checkPresent(present, spec, now)
	}
	var bundle sitecerts.Bundle
	var changes []sitecerts.Change
	authority, err := f.authority(act, present, spec, now)
	if err != nil {
		return nil, err
	}
	if act == renew {
		bundle, changes, err = sitecerts.Renew(present, authority, spec, now)
	} else {
		bundle, err = sitecerts.Issue(authority, spec, now)
	}
	if err != nil {
		return nil, err
	}
	for _, change := range changes {
		fmt.Fprintln(report, change)
	}
	if f.out == "" {
		return bundle, nil
	}
	return bundle, sitecerts.WriteDirectory(f.out, bundle)
}

// authority is the person's own CA, the directory's, or a new one.
func (f certsFlags) authority(act action, present sitecerts.Bundle, spec sitecerts.Spec, now time.Time) (sitecerts.Authority, error) {
	if f.caCert != "" {
		cert, err := os.ReadFile(f.caCert)
		if err != nil {
			return sitecerts.Authority{}, fmt.Errorf("read the CA's certificate: %w", err)
		}
		key, err := os.ReadFile(f.caKey)
		if err != nil {
			return sitecerts.Authority{}, fmt.Errorf("read the CA's key: %w", err)
		}
		return sitecerts.ParseAuthority(f.caCert, cert, f.caKey, key, now)
	}
	if act == create {
		return sitecerts.NewAuthority(spec, now)
	}
	if len(present[sitecerts.CAKey]) == 0 {
		return sitecerts.Authority{}, fmt.Errorf("%s holds no %s: give the CA that signed these certificates with --ca-cert and --ca-key", f.out, sitecerts.CAKey)
	}
	return present.Authority(now)
}

// checkPresent refuses to hand out certificates that would not be accepted, or that lack a site's name.
func (f certsFlags) checkPresent(present sitecerts.Bundle, spec sitecerts.Spec, now time.Time) error {
	if err := present.Check(now); err != nil {
		return err
	}
	if changes := sitecerts.NamesDiffer(present, spec); changes != "" {
		return fmt.Errorf("the certificates in %s do not fit the values (%s): add --renew", f.out, changes)
	}
	return nil
}

func (f certsFlags) writeSecret(bundle sitecerts.Bundle, spec sitecerts.Spec, stdout, stderr io.Writer) error {
	if f.secret == "" {
		return nil
	}
	name := f.secretName
	if name == "" {
		name = spec.Sites[0].Fullname + "-tls"
	}
	manifest, err := bundle.Manifest(name, spec.CommonNamespace())
	if err != nil {
		return err
	}
	if f.secret != "-" {
		return sitecerts.WriteFile(f.secret, manifest)
	}
	if file, ok := stdout.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			fmt.Fprintln(stderr, "warning: the file the Secret goes to can be read by others; --secret=FILE makes one that cannot")
		}
	}
	_, err = stdout.Write(manifest)
	return err
}

func printEntries(w io.Writer, bundle sitecerts.Bundle, now time.Time) error {
	entries, err := bundle.Entries()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FILE\tSUBJECT\tNAMES\tEXPIRES\tDAYS LEFT")
	for _, e := range entries {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%d\n", e.File, e.Subject, e.Names, e.NotAfter.Format(time.DateOnly), e.Days(now))
	}
	return table.Flush()
}
