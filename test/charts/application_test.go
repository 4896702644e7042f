package charts

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgpassfile"
	"github.com/jackc/pgx/v5/pgconn"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const awkward = `p@ss:w/o rd%+#\é'"`

func TestApplicationSecret(t *testing.T) {
	live := []runtime.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "given", Namespace: "default"}, Data: map[string][]byte{"pw": []byte(awkward)}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "certs", Namespace: "default"}, Data: map[string][]byte{"ca.crt": []byte("PEM")}},
	}
	all := objects(t, release{live: live, values: `
users: {app: {existingSecret: given, passwordKey: pw}}
tls: {mode: secret, secret: {name: certs}}
unfinished: {sites: true}
site: leo
service: {rw: {port: 6543}}
sites: {leo: {host: 198.51.100.10}, ait: {host: db.ait.example.com, port: 7432}, six: {host: "2001:db8::1"}}`}.mustRender(t))
	s := secret(t, all, "demo-app-app")
	if s.Type != "servicebinding.io/postgresql" {
		t.Errorf("type %s", s.Type)
	}
	plain := map[string]string{"type": "postgresql", "provider": "pgspan", "host": "demo-rw.default.svc.cluster.local", "port": "6543", "database": "app", "username": "app", "password": awkward, "ca.crt": "PEM"}
	for key, want := range plain {
		if got := string(s.Data[key]); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	config, err := pgconn.ParseConfig(string(s.Data["uri"]))
	if err != nil {
		t.Fatalf("uri %s: %v", s.Data["uri"], err)
	}
	if config.Password != awkward || config.User != "app" || config.Database != "app" || config.Host != plain["host"] || config.Port != 6543 || config.TLSConfig == nil || config.ValidateConnect == nil {
		t.Errorf("uri %s means %+v", s.Data["uri"], config)
	}
	var others []string
	for _, fallback := range config.Fallbacks {
		others = append(others, fallback.Host)
	}
	if want := []string{"db.ait.example.com", "2001:db8::1"}; !slices.Equal(others, want) {
		t.Errorf("uri leads on to %v, want %v", others, want)
	}
	jdbc, err := url.Parse(strings.Replace(strings.TrimPrefix(string(s.Data["jdbc-uri"]), "jdbc:"), ",db.ait.example.com:7432,[2001:db8::1]:5432", "", 1))
	if err != nil || jdbc.Query().Get("password") != awkward || jdbc.Query().Get("targetServerType") != "primary" {
		t.Errorf("jdbc-uri %s: %v", s.Data["jdbc-uri"], err)
	}
	pgpass, err := pgpassfile.ParsePassfile(bytes.NewReader(s.Data["pgpass"]))
	if err != nil {
		t.Fatal(err)
	}
	for host, port := range map[string]string{plain["host"]: "6543", "db.ait.example.com": "7432", "2001:db8::1": "5432"} {
		if got := pgpass.FindPassword(host, port, "app", "app"); got != awkward {
			t.Errorf("pgpass for %s gives %q", host, got)
		}
	}
	pooler, err := pgconn.ParseConfig(string(s.Data["pooler-uri"]))
	if err != nil || pooler.Host != "demo-pgpool.default.svc.cluster.local" || pooler.Password != awkward {
		t.Errorf("pooler-uri %s: %v", s.Data["pooler-uri"], err)
	}
}

func TestUnknownPasswordIsLeftOutAndNotEmpty(t *testing.T) {
	all := objects(t, release{values: "users: {app: {existingSecret: elsewhere}}\ntls: {mode: secret, secret: {name: certs}}"}.mustRender(t))
	s := secret(t, all, "demo-app-app")
	for _, key := range []string{"password", "uri", "jdbc-uri", "pgpass", "pooler-uri", "ca.crt"} {
		if value, there := s.Data[key]; there {
			t.Errorf("%s = %q, though nobody told what it is", key, value)
		}
	}
	for _, other := range of[*corev1.Secret](all) {
		if strings.HasPrefix(other.Name, "demo-user-") {
			t.Errorf("Secret %s is made beside the existing one", other.Name)
		}
	}
}

func TestWhichDatabaseAUserIsToldAbout(t *testing.T) {
	all := objects(t, release{values: `
superuser: {tcp: true}
users: {app: null, owner_of_two: {}, reader: {}, writer: {database: b}}
databases: {app: null, b: {owner: owner_of_two}, a: {owner: owner_of_two}}`}.mustRender(t))
	for name, want := range map[string]string{"demo-app-owner-of-two": "a", "demo-app-reader": "a", "demo-app-writer": "b", "demo-app-postgres": "postgres"} {
		if got := string(secret(t, all, name).Data["database"]); got != want {
			t.Errorf("%s: database %s, want %s", name, got, want)
		}
	}
}
