package derive

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/podenv"
	"github.com/pgspan/pgspan/agents/internal/settings"
	sitecerts "github.com/pgspan/pgspan/tls"
	"github.com/pgspan/pgspan/tls/keypair"
)

// pod is one with a good Secret and nothing derived yet.
func pod(t *testing.T) podenv.Pod {
	t.Helper()
	root := t.TempDir()
	p := podenv.Pod{
		Bin: "/pgspan/bin", Socket: "/pgspan/socket", Volume: root,
		Conf: filepath.Join(root, "conf"), Keys: filepath.Join(root, "keys"), TLS: filepath.Join(root, "tls"),
	}
	for _, dir := range []string{p.Conf, p.Keys, p.TLS} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	secret(t, p)
	return p
}

// secret puts a new set of certificates into the mounted Secret.
func secret(t *testing.T, p podenv.Pod) {
	t.Helper()
	bundle, err := sitecerts.Generate(sitecerts.Spec{ExtraNames: []string{"127.0.0.1"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range bundle.Shared() {
		if err := os.WriteFile(filepath.Join(p.TLS, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func replica() Input {
	return Input{
		Settings: settings.Settings{Release: "db", Port: 5432, Members: settings.Members{Primary: 1, Replicas: 1}},
		Tools:    pgtools.Tools{Major: 17},
		Control:  &pgdata.Control{WALSegment: 16 << 20, Limits: map[string]int{"max_connections": 300}},
		Grant: &grant.Grant{
			Role: grant.Replica, Slot: "mine", SyncName: "me", Upstream: &grant.Upstream{Name: "db-primary-0", Host: "db-primary-0.db-members", Port: 5432},
		},
	}
}

func derived(t *testing.T, p podenv.Pod, in Input) Result {
	t.Helper()
	r, err := All(t.Context(), p, in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func file(t *testing.T, p podenv.Pod, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.Conf, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEqualSourcesChangeNothing(t *testing.T) {
	p := pod(t)
	first := derived(t, p, replica())
	if len(first.Changed) != 5 || !first.KeysChanged || len(first.Keys.Certificates) == 0 {
		t.Errorf("first time: %+v", first)
	}
	again := derived(t, p, replica())
	if len(again.Changed) != 0 || again.KeysChanged || !slices.Equal(again.CommandLine, first.CommandLine) {
		t.Errorf("second time: %+v", again)
	}
}

func TestAnotherLeaderChangesOneFileAndNoCommandLine(t *testing.T) {
	p := pod(t)
	first := derived(t, p, replica())
	in := replica()
	in.Grant.Upstream.Host = "db-replica-0.db-members"
	next := derived(t, p, in)
	if !slices.Equal(next.Changed, []string{pgconf.Upstream}) || next.KeysChanged || !slices.Equal(next.CommandLine, first.CommandLine) {
		t.Errorf("got %+v", next)
	}
	if conf := file(t, p, pgconf.Upstream); !strings.Contains(conf, "host=db-replica-0.db-members") {
		t.Errorf("upstream: %s", conf)
	}
}

func TestOnlyAReplicaHasAnUpstream(t *testing.T) {
	p := pod(t)
	for _, g := range []*grant.Grant{nil, {Role: grant.Wait}, {Role: grant.Primary, Upstream: &grant.Upstream{Host: "stale"}}, {Role: grant.Replica}} {
		in := replica()
		in.Grant = g
		derived(t, p, in)
		if conf := file(t, p, pgconf.Upstream); !strings.Contains(conf, "primary_conninfo = ''") {
			t.Errorf("%+v: %s", g, conf)
		}
	}
}

func TestLimitsOfThePrimaryBindStandbysOnly(t *testing.T) {
	p := pod(t)
	in := replica()
	r := derived(t, p, in)
	if conf := file(t, p, pgconf.Main); !strings.Contains(conf, "max_connections = '300'") || len(r.Notes) != 1 {
		t.Errorf("standby: %v\n%s", r.Notes, conf)
	}
	in.Writable = true
	derived(t, p, in)
	if conf := file(t, p, pgconf.Main); strings.Contains(conf, "max_connections") {
		t.Errorf("primary:\n%s", conf)
	}
}

func TestRotatedSecretIsPlaced(t *testing.T) {
	p := pod(t)
	derived(t, p, replica())
	secret(t, p)
	if r := derived(t, p, replica()); !r.KeysChanged || len(r.Changed) != 0 {
		t.Errorf("got %+v", r)
	}
}

// A Secret that was rotated wrongly must not keep a server down that was started with a good one.
func TestWrongSecretLeavesTheGoodKeysInPlace(t *testing.T) {
	p := pod(t)
	derived(t, p, replica())
	before, err := os.ReadFile(filepath.Join(p.Keys, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.TLS, "server.key"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	var wrong *keypair.Problem
	r, err := All(t.Context(), p, replica())
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "server.key") || len(r.CommandLine) == 0 || len(r.Keys.Certificates) == 0 || r.KeysChanged {
		t.Errorf("got %+v, %v; want the problem and what is in place", r, err)
	}
	if !strings.Contains(strings.Join(r.Notes, "\n"), "server.key") {
		t.Errorf("nothing is said about it: %v", r.Notes)
	}
	// Another leader is followed all the same.
	in := replica()
	in.Grant.Upstream.Host = "db-replica-0.db-members"
	if r := derived(t, p, in); !slices.Equal(r.Changed, []string{pgconf.Upstream}) || !strings.Contains(strings.Join(r.Notes, "\n"), "server.key") {
		t.Errorf("another leader: %+v", r)
	}
	after, err := os.ReadFile(filepath.Join(p.Keys, "server.key"))
	if err != nil || string(after) != string(before) {
		t.Errorf("the good key is gone: %v", err)
	}
}

func TestWrongSecretWithNothingInPlaceIsRefused(t *testing.T) {
	p := pod(t)
	if err := os.WriteFile(filepath.Join(p.TLS, "server.key"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := All(t.Context(), p, replica())
	var wrong *keypair.Problem
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "server.key") {
		t.Errorf("got %v", err)
	}
}

func TestRefusedSettingsChangeNothingAtAll(t *testing.T) {
	p := pod(t)
	derived(t, p, replica())
	before := file(t, p, pgconf.Main)
	secret(t, p) // would be placed
	in := replica()
	in.Settings.PostgreSQL.Parameters = map[string]string{"work_mem": "1MB", "fsync": "off"}
	_, err := All(t.Context(), p, in)
	var refused *RefusedError
	if !errors.As(err, &refused) || len(refused.Problems) != 1 {
		t.Errorf("got %v", err)
	}
	if file(t, p, pgconf.Main) != before {
		t.Error("the configuration was changed")
	}
	if r := derived(t, p, replica()); !r.KeysChanged {
		t.Error("the keys were changed")
	}
}

// A full or missing volume for configuration is no finding about the settings.
func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	p := pod(t)
	p.Conf = filepath.Join(p.TLS, "ca.crt") // a file
	_, err := All(t.Context(), p, replica())
	var refused *RefusedError
	if err == nil || errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}
