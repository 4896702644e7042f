package charts

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	sitecerts "github.com/pgspan/pgspan/tls"
	"github.com/pgspan/pgspan/tls/keypair"
)

func secret(t testing.TB, all []runtime.Object, name string) *corev1.Secret {
	t.Helper()
	return named[*corev1.Secret](t, all, name)
}

// applied are the rendered Secrets and StatefulSets as the cluster would hold them at the next upgrade.
func applied(all []runtime.Object) []runtime.Object {
	var live []runtime.Object
	for _, object := range all {
		switch object.(type) {
		case *corev1.Secret, *appsv1.StatefulSet:
			live = append(live, object)
		}
	}
	return live
}

func TestGeneratedCertificatesAreWhatPostgreSQLAccepts(t *testing.T) {
	all := objects(t, release{name: "quay", namespace: "prod", values: "tls: {extraNames: [db.example.com, 192.0.2.10]}"}.mustRender(t))
	data := secret(t, all, "quay-tls").Data
	trust, err := keypair.ParseTrust("ca.crt", data["ca.crt"])
	if err != nil {
		t.Fatal(err)
	}
	if years := time.Until(trust.Roots[0].NotAfter).Hours() / 24 / 365; years < 9.9 || years > 10.1 {
		t.Errorf("the CA lives %.1f years, want 10", years)
	}
	commonNames := map[string]string{"server": "pgspan_server", "replication": "pgspan_replication", "keeper": "pgspan_keeper", "pooler": "pgspan_pooler", "operator": "pgspan_operator"}
	for name, want := range commonNames {
		pair, err := keypair.Parse(name+".crt", data[name+".crt"], name+".key", data[name+".key"])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		use := x509.ExtKeyUsageClientAuth
		if name == "server" {
			use = x509.ExtKeyUsageServerAuth
		}
		if err := trust.Check(pair, use, time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := pair.Leaf().Subject.CommonName; got != want {
			t.Errorf("%s: CN %s, want %s", name, got, want)
		}
		if key, ok := pair.Key.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("%s: key %T, want ECDSA P-256", name, pair.Key)
		}
	}
	if _, leaked := data["ca.key"]; leaked {
		t.Error("the CA's key lies in the Secret that pods mount")
	}
	for _, p := range pods(all) {
		for _, v := range p.spec.Volumes {
			if v.Secret != nil && v.Secret.SecretName == "quay-ca" {
				t.Errorf("%s mounts the CA's key", p.owner)
			}
		}
	}
}

// TestCertificatesCarryTheNamesThatTheCommandGivesThem compares both makers of certificates, name by name.
func TestCertificatesCarryTheNamesThatTheCommandGivesThem(t *testing.T) {
	cases := map[string]release{
		"generated":     {name: "quay", namespace: "prod", values: "tls: {extraNames: [DB.example.com, 192.0.2.10, '2001:db8::5']}"},
		"long_name":     {name: longest, namespace: "prod"},
		"other_domain":  {name: "quay", namespace: "prod", values: "clusterDomain: k8s.example.com\nfullnameOverride: registry"},
		"override_away": {name: "quay", namespace: "prod", values: "namespaceOverride: databases"},
		"several_sites": {name: "quay", namespace: "prod", values: `
tls: {mode: certManager, certManager: {issuerRef: {name: company}}}
unfinished: {sites: true}
site: leo
sites:
  leo: {host: 198.51.100.10}
  ait: {host: db.ait.example.com, namespace: other, clusterDomain: ait.local}
  aws: {host: "2001:db8::1", release: 2nd.quay, fullname: ""}`},
	}
	for name, r := range cases {
		t.Run(name, func(t *testing.T) {
			gotNames, gotAddresses := serverNames(t, objects(t, r.mustRender(t)))
			values, err := sitecerts.ReadValues([]byte(r.values))
			if err != nil {
				t.Fatal(err)
			}
			wantNames, wantIPs := values.Spec(sitecerts.Release{Name: r.name, Namespaces: []string{r.namespace}}).ServerNames()
			var wantAddresses []string
			for _, ip := range wantIPs {
				wantAddresses = append(wantAddresses, ip.String())
			}
			compare(t, "names", gotNames, wantNames)
			compare(t, "addresses", gotAddresses, wantAddresses)
		})
	}
}

// serverNames reads the server certificate, or what cert-manager is asked to put into it.
func serverNames(t *testing.T, all []runtime.Object) (names, addresses []string) {
	t.Helper()
	for _, s := range of[*corev1.Secret](all) {
		if pem, ok := s.Data["server.crt"]; ok {
			certs, err := keypair.ParseCertificates("server.crt", pem)
			if err != nil {
				t.Fatal(err)
			}
			for _, ip := range certs[0].IPAddresses {
				addresses = append(addresses, ip.String())
			}
			return certs[0].DNSNames, addresses
		}
	}
	for _, certificate := range of[*unstructured.Unstructured](all) {
		if names, found, _ := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames"); found {
			addresses, _, _ := unstructured.NestedStringSlice(certificate.Object, "spec", "ipAddresses")
			return names, addresses
		}
	}
	t.Fatal("there is no server certificate")
	return nil, nil
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got  %v\n want %v", what, got, want)
	}
}

func TestAnUpgradeKeepsPasswordsAndCertificates(t *testing.T) {
	before := objects(t, release{values: "users: {reporting: {}}"}.mustRender(t))
	after := objects(t, release{values: "users: {reporting: {}}", live: applied(before)}.mustRender(t))
	for _, want := range of[*corev1.Secret](before) {
		got := secret(t, after, want.Name)
		if !maps.EqualFunc(got.Data, want.Data, bytes.Equal) {
			t.Errorf("Secret %s changed in an upgrade that changes nothing", want.Name)
		}
		kept := got.Annotations["helm.sh/resource-policy"] == "keep"
		if mustKeep := !strings.HasPrefix(want.Name, "demo-app-"); kept != mustKeep {
			t.Errorf("Secret %s kept by an uninstall: got %v, want %v", want.Name, kept, mustKeep)
		}
	}
	fresh := objects(t, release{values: "users: {reporting: {}}"}.mustRender(t))
	if bytes.Equal(secret(t, fresh, "demo-user-app").Data["password"], secret(t, before, "demo-user-app").Data["password"]) {
		t.Error("two installations have the same password")
	}
}

func TestNewNamesAreSignedByTheSameCA(t *testing.T) {
	before := objects(t, release{}.mustRender(t))
	after := objects(t, release{values: "tls: {extraNames: [db.example.com]}", live: applied(before)}.mustRender(t))
	old, renewed := secret(t, before, "demo-tls").Data, secret(t, after, "demo-tls").Data
	if !bytes.Equal(old["ca.crt"], renewed["ca.crt"]) || !bytes.Equal(secret(t, before, "demo-ca").Data["ca.key"], secret(t, after, "demo-ca").Data["ca.key"]) {
		t.Fatal("another name made another CA")
	}
	names, _ := serverNames(t, after)
	if !slices.Contains(names, "db.example.com") {
		t.Errorf("the new name is not in the certificate: %v", names)
	}
	trust, err := keypair.ParseTrust("ca.crt", old["ca.crt"])
	if err != nil {
		t.Fatal(err)
	}
	pair, err := keypair.Parse("server.crt", renewed["server.crt"], "server.key", renewed["server.key"])
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.Check(pair, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestALostCertificateSecretIsSignedAgainByTheLiveCA(t *testing.T) {
	before := objects(t, release{}.mustRender(t))
	live := slices.DeleteFunc(applied(before), func(o runtime.Object) bool { return o.(metav1.Object).GetName() == "demo-tls" })
	after := objects(t, release{live: live}.mustRender(t))
	if !bytes.Equal(secret(t, before, "demo-tls").Data["ca.crt"], secret(t, after, "demo-tls").Data["ca.crt"]) {
		t.Error("the CA changed, and with it whom clients trust")
	}
}

// TestPasswordThatPgpoolCannotPassOn: what the pooler would refuse in a running pod is refused where Helm can read the Secret.
func TestPasswordThatPgpoolCannotPassOn(t *testing.T) {
	for name, c := range map[string]struct{ password, values, want string }{
		"longer_than_pgpool_keeps":     {strings.Repeat("x", 125), "", "the password of app (Secret given, key password) has more than 124 bytes, and pgpool cannot pass on such a one: choose another, or set pgpool.enabled: false"},
		"long_in_bytes_not_in_letters": {strings.Repeat("ß", 63), "", "has more than 124 bytes"},
		"two_lines":                    {"one\ntwo", "", "has a line break"},
		"as_long_as_pgpool_keeps":      {strings.Repeat("x", 124), "", ""},
		"end_of_line_of_an_editor":     {strings.Repeat("x", 124) + "\n", "", ""},
		"without_pgpool_it_works":      {strings.Repeat("x", 125), "pgpool: {enabled: false}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			given := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "given", Namespace: "default"}, Data: map[string][]byte{"password": []byte(c.password)}}
			_, err := release{live: []runtime.Object{given}, values: "users: {app: {existingSecret: given}}\n" + c.values}.render(t)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}
