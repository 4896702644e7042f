package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	sitecerts "github.com/pgspan/pgspan/tls"
)

const certsLong = `Make the certificates of all sites from the same values as the chart: a CA, one server certificate with the
names and addresses of every site, and client certificates for replication, keeper, pooler and operator.

All sites trust one CA, so run this once, keep the directory safe (its ca.key signs for every site and never goes
into a cluster), and apply the one Secret at every site. Give the same values files as to helm, without those that
belong to a single site.`

const certsExample = `  # make them, and the Secret for all sites
  kubectl pgspan certs --values values-common.yaml --release db --namespace pg --out certs --secret=secret.yaml
  kubectl --context leo -n pg apply -f secret.yaml

  # once a year, or after a change of the site list; the pods take the new Secret without a restart
  kubectl pgspan certs --values values-common.yaml --release db --namespace pg --out certs --renew --secret=secret.yaml

  # with a CA of your own; its key stays where it is
  kubectl pgspan certs --values values-common.yaml --release db --namespace pg --ca-cert ca.pem --ca-key ca-key.pem --secret`

// certsFlags is what the person typed.
type certsFlags struct {
	values           []string
	release          sitecerts.Release
	out              string
	secret           string // "" = none, "-" = standard output, else a file
	secretName       string
	caCert, caKey    string
	renew, status    bool
	leafDays, caDays int
}

func newCertsCommand(now func() time.Time) *cobra.Command {
	var flags certsFlags
	cmd := &cobra.Command{
		Use: "certs", Short: "Make or renew the certificates of all sites", Long: certsLong, Example: certsExample, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.run(now(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	set := cmd.Flags()
	set.StringArrayVarP(&flags.values, "values", "f", nil, "values file of the chart; may be given several times, later ones win")
	set.StringVar(&flags.release.Name, "release", "", "name of the Helm release, where the site list does not say another")
	set.StringSliceVarP(&flags.release.Namespaces, "namespace", "n", nil, "namespace(s) of the release, where the site list does not say another")
	set.StringVar(&flags.release.ClusterDomain, "cluster-domain", "", `DNS domain of the clusters (default the values', or "cluster.local")`)
	set.StringSliceVar(&flags.release.ExtraNames, "extra-name", nil, "further DNS name or IP address for the server certificate; may be given several times")
	set.StringVarP(&flags.out, "out", "o", "", "directory of the certificates and the CA's key")
	set.StringVar(&flags.secret, "secret", "", "also write the Secret's manifest, to standard output or to a file: --secret=FILE")
	set.Lookup("secret").NoOptDefVal = "-"
	set.StringVar(&flags.secretName, "secret-name", "", "name of the Secret (default <full name>-tls)")
	set.StringVar(&flags.caCert, "ca-cert", "", "certificate of your own CA, with any intermediates and its root")
	set.StringVar(&flags.caKey, "ca-key", "", "private key of your own CA")
	set.BoolVar(&flags.renew, "renew", false, "issue the certificates in --out anew; the CA stays")
	set.BoolVar(&flags.status, "status", false, "only say what is in --out, whether it fits the values, and how many days are left")
	set.IntVar(&flags.leafDays, "days", days(sitecerts.DefaultLeafLife), "how long the certificates are valid")
	set.IntVar(&flags.caDays, "ca-days", days(sitecerts.DefaultCALife), "how long a new CA is valid")
	return cmd
}

func days(d time.Duration) int { return int(d / (24 * time.Hour)) }

// validate reports what cannot go together.
func (f certsFlags) validate() error {
	var problems []error
	add := func(sentence string) { problems = append(problems, errors.New(sentence)) }
	if (f.caCert == "") != (f.caKey == "") {
		add("--ca-cert and --ca-key belong together: give both or neither")
	}
	if f.out == "" && f.secret == "" {
		add("nothing to write: give --out DIR, --secret, or both")
	}
	if f.out == "" && f.secret != "" && f.caCert == "" && !f.renew && !f.status {
		add("the new CA's key would be lost, and with it every renewal: add --out DIR to keep it, or give your own CA with --ca-cert and --ca-key")
	}
	if f.out == "" && (f.renew || f.status) {
		add("--renew and --status need --out DIR, the directory that holds the certificates")
	}
	if f.renew && f.status {
		add("--status changes nothing: leave out --renew")
	}
	if f.leafDays < 1 || f.caDays < 1 {
		add("--days and --ca-days must be at least 1")
	}
	return errors.Join(problems...)
}

func (f certsFlags) run(now time.Time, stdout, stderr io.Writer) error {
	if err := f.validate(); err != nil {
		return err
	}
	spec, err := f.spec()
	if err != nil {
		return err
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	var present sitecerts.Bundle
	if f.out != "" {
		if present, err = sitecerts.ReadDirectory(f.out); err != nil {
			return err
		}
	}
	// The report goes where the manifest does not.
	report := stdout
	if f.secret == "-" {
		report = stderr
	}
	act, err := f.decide(present)
	if err != nil {
		return err
	}
	bundle, err := f.do(act, present, spec, now, report)
	if err != nil {
		return err
	}
	if err := f.writeSecret(bundle, spec, stdout, stderr); err != nil {
		return err
	}
	return printEntries(report, bundle, now)
}

func (f certsFlags) spec() (sitecerts.Spec, error) {
	var files [][]byte
	for _, path := range f.values {
		data, err := os.ReadFile(path)
		if err != nil {
			return sitecerts.Spec{}, fmt.Errorf("read values: %w", err)
		}
		files = append(files, data)
	}
	values, err := sitecerts.ReadValues(files...)
	if err != nil {
		return sitecerts.Spec{}, err
	}
	spec := values.Spec(f.release)
	spec.LeafLife = time.Duration(f.leafDays) * 24 * time.Hour
	spec.CALife = time.Duration(f.caDays) * 24 * time.Hour
	if f.caCert != "" && spec.CALife < spec.LeafLife {
		spec.CALife = spec.LeafLife // a person's own CA has its own end, which caps the certificates
	}
	return spec, nil
}
