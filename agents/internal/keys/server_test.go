package keys

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// secured is a real server whose keys were placed by Place, run in the image as the image's own user.
type secured struct {
	*pgtest.Server
	mount   *mount
	keys    string // inside path of what was placed
	program string // this test binary, inside
	spec    sitecerts.Spec
	bundle  sitecerts.Bundle
}

func startSecured(t *testing.T, major int) *secured {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{Server: pgtest.New(t, major, pgtest.WithHBA(
		"local all all trust",
		"hostssl all pgspan_replication all cert",
		"hostssl replication pgspan_replication all cert",
		"hostssl all postgres all scram-sha-256",
	))}
	s.spec = oneSite()
	s.spec.Sites[0].Host = s.Host
	s.bundle = generate(t, s.spec, time.Now())
	s.program = s.Install(t, self)

	s.mount = &mount{t: t, dir: s.Outside(s.TempDir(t)), mode: 0o440}
	s.keys = s.TempDir(t)
	s.place(t, s.bundle)
	for setting, file := range map[string]string{"ssl_ca_file": "ca.crt", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"} {
		s.Set(setting, s.keys+"/"+file)
	}
	s.Set("ssl", "on")
	s.Start(t)
	s.SQL(t, "CREATE ROLE pgspan_replication LOGIN REPLICATION")
	return s
}

// place rotates the mounted Secret and places it.
func (s *secured) place(t *testing.T, bundle sitecerts.Bundle) {
	t.Helper()
	s.mount.rotate(bundle.Shared())
	src := s.Inside(s.mount.dir)
	s.Chown(t, src, 0, pgtest.GID) // what fsGroup does
	if err := os.Chmod(s.mount.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(pgtest.Command{Path: s.program, Env: placeEnv(src, s.keys, time.Now())}); err != nil {
		t.Fatal(err)
	}
}

// psql logs in over TCP with verify-full. The name is what the certificate is checked against; the address is always the
// server's.
func (s *secured) psql(name, login, more, statement string) (string, error) {
	dsn := fmt.Sprintf("host=%s hostaddr=%s port=%d dbname=postgres user=pgspan_replication sslmode=verify-full sslrootcert=%s/ca.crt sslcert=%[4]s/%[5]s.crt sslkey=%[4]s/%[5]s.key connect_timeout=10 %[6]s",
		name, s.Host, s.Port, s.keys, login, more)
	out, err := s.Run(pgtest.Command{Path: s.BinDir() + "/psql", Args: []string{"-XqAt", "-d", dsn, "-c", statement}})
	return strings.TrimSpace(out), err
}

// TestServerAndClientsAcceptWhatWasPlaced is the proof against PostgreSQL and libpq themselves.
func TestServerAndClientsAcceptWhatWasPlaced(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			s := startSecured(t, major)
			const query = "SELECT current_user, ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
			const want = "pgspan_replication|t|/O=pgspan/CN=pgspan_replication"
			for _, name := range []string{s.Host, "db-rw", "db-ro.pg.svc.cluster.local", "db-primary-0.db-members.pg.svc", "localhost"} {
				got, err := s.psql(name, "replication", "", query)
				if err != nil || got != want {
					t.Errorf("by %s: got %q %v, want %q", name, got, err, want)
				}
			}
			if got, err := s.psql(s.Host, "replication", "replication=true", "IDENTIFY_SYSTEM"); err != nil || !strings.Contains(got, "|") {
				t.Errorf("replication login: got %q %v", got, err)
			}
			for name, tc := range map[string]struct{ host, login, more, want string }{
				"name_of_no_site":                {"db-rw.other", "replication", "", "does not match host name"},
				"address_of_no_site":             {"198.18.1.201", "replication", "", "does not match host name"},
				"wildcard_is_for_one_label_only": {"a.b.db-members.pg", "replication", "", "does not match host name"},
				"login_of_another":               {s.Host, "keeper", "", "certificate authentication failed"},
				"server_certificate_as_login":    {s.Host, "server", "", "unsupported certificate"},
				"no_tls":                         {s.Host, "replication", "sslmode=disable", "no encryption"},
			} {
				if got, err := s.psql(tc.host, tc.login, tc.more, "SELECT 1"); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: got %q %v, want a refusal with %q", name, got, err, tc.want)
				}
			}
			// Channel binding ties the password to this certificate; it fails with some kinds of certificates.
			password := "user=postgres password=" + pgtest.Password + " channel_binding=require"
			if got, err := s.psql(s.Host, "replication", password, "SELECT current_user"); err != nil || got != "postgres" {
				t.Errorf("SCRAM with channel binding: got %q %v", got, err)
			}
			s.rotated(t)
		})
	}
}

// rotated shows that a rotated Secret is served after a reload, by the same postmaster, to connections made after it while
// those made before go on.
func (s *secured) rotated(t *testing.T) {
	t.Helper()
	const started = "SELECT pg_postmaster_start_time()"
	before := s.SQL(t, started)
	if _, err := s.psql("db.example", "replication", "", "SELECT 1"); err == nil {
		t.Error("db.example was accepted before it was in the certificate")
	}
	s.spec.ExtraNames = []string{"db.example"}
	s.place(t, renew(t, s.bundle, s.spec, time.Now()))
	s.SQL(t, "SELECT pg_reload_conf()")
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := s.psql("db.example", "replication", "", "SELECT 1")
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the rotated certificate is not served: %v\n%s", err, s.Log())
		}
	}
	if after := s.SQL(t, started); after != before {
		t.Errorf("the server was restarted: %s, before %s", after, before)
	}
}
