package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/podtest"
	"github.com/pgspan/pgspan/agents/internal/settings"
	sitecerts "github.com/pgspan/pgspan/tls"
)

const patience = podtest.Patience

// leader is a server that members clone from: TLS with certificates of the release, the replication role, some rows.
type leader struct {
	*pgtest.Server
	bundle sitecerts.Bundle
	id     string
}

func newLeader(t testing.TB, major int, opts ...pgtest.Option) *leader {
	t.Helper()
	l := &leader{Server: pgtest.New(t, major, opts...)}
	l.bundle = certificates(t, l.Host, time.Now(), 0)
	keys := l.Volume + "/keys"
	for name, content := range l.bundle {
		l.WriteFile(t, keys+"/"+name, content, 0o600)
	}
	l.Set("ssl", "on")
	l.Set("ssl_ca_file", keys+"/ca.crt")
	l.Set("ssl_cert_file", keys+"/server.crt")
	l.Set("ssl_key_file", keys+"/server.key")
	l.Set("wal_level", "logical")
	l.WriteHBA(t, "local all all trust", "hostssl replication pgspan_replication all cert")
	l.Start(t)
	l.SQL(t, "CREATE ROLE pgspan_replication LOGIN REPLICATION; CREATE TABLE jobs AS SELECT generate_series(1, 1000) AS id")
	l.id = l.SQL(t, "SELECT system_identifier FROM pg_control_system()")
	return l
}

func (l *leader) upstream() *grant.Upstream {
	return &grant.Upstream{Member: "pvc-of-the-leader", Name: "db-primary-0", Host: l.Host, Address: l.Host, Port: l.Port}
}

// grow adds about so many megabytes, for clones that are to take a while.
func (l *leader) grow(t testing.TB, megabytes int) {
	t.Helper()
	l.SQL(t, fmt.Sprintf("CREATE TABLE ballast AS SELECT repeat(md5(i::text), 30) AS t FROM generate_series(1, %d) i; CHECKPOINT", megabytes*1024))
}

func certificates(t testing.TB, host string, now time.Time, life time.Duration) sitecerts.Bundle {
	t.Helper()
	b, err := sitecerts.Generate(sitecerts.Spec{ExtraNames: []string{host}, LeafLife: life}, now)
	if err != nil {
		t.Fatal(err)
	}
	return b.Shared()
}

// pod is a database pod without Kubernetes: its volumes and the seed container. The test is its keeper.
type pod struct {
	*pgtest.Root
	t        testing.TB
	name     string
	volume   string // inside path; two pods may have the same
	dir      string // inside path of everything else
	uid, gid int
	env      []string
	seq      uint64
}

func newPod(t testing.TB, root *pgtest.Root, name, volume string) *pod {
	t.Helper()
	p := &pod{Root: root, t: t, name: name, volume: volume, dir: root.TempDir(t), uid: pgtest.UID, gid: pgtest.GID}
	podtest.MakePlaces(t, root, p.dir)
	p.settings("")
	return p
}

// as is the same pod in the eyes of a subtest, so that what fails there is said there.
func (p *pod) as(t testing.TB) *pod {
	same := *p
	same.t = t
	if err := os.Remove(filepath.Join(p.Outside(p.at("control")), "state")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return &same
}

func (p *pod) at(place string) string { return p.dir + "/" + place }
func (p *pod) podUID() string         { return "uid-of-" + p.name }
func (p *pod) member() string         { return "pvc" + filepath.Base(p.volume) }
func (p *pod) paths() layout.Paths    { return layout.In(p.Outside(p.volume)) }

// settings writes what the chart would; more is YAML below the key postgresql.
func (p *pod) settings(more string) {
	p.t.Helper()
	p.WriteFile(p.t, p.at("settings/settings.yaml"), fmt.Appendf(nil, `release: db
major: %d
port: 5432
members: {primary: 1, replicas: 1}
postgresql:
  parameters: {shared_buffers: 16MB, max_connections: "50"}
%s`, p.Major, more), 0o600)
	p.own()
}

// secret mounts certificates.
func (p *pod) secret(b sitecerts.Bundle) {
	p.t.Helper()
	for name, content := range b {
		p.WriteFile(p.t, p.at("tls/"+name), content, 0o600)
	}
	p.own()
}

// own gives the pod's files to its user, when that is not the images'.
func (p *pod) own() {
	if p.uid != pgtest.UID {
		p.Chown(p.t, p.dir, p.uid, p.gid)
		p.Chown(p.t, p.volume, p.uid, p.gid)
	}
}

// replica lets the pod be a replica of l that may clone; change may alter the grant.
func (p *pod) replica(l *leader, change ...func(*grant.Grant)) {
	p.t.Helper()
	p.secret(l.bundle)
	g := grant.Grant{
		Role: grant.Replica, Reason: "follows the leader", MayClone: true, Epoch: epoch.Epoch{Local: 3}, Timeline: 1, SystemID: l.id,
		Upstream: l.upstream(), SyncName: "m_" + p.name,
	}
	for _, c := range change {
		c(&g)
	}
	p.grant(g)
}

// bootstrap lets the pod create the database.
func (p *pod) bootstrap(change ...func(*grant.Grant)) {
	p.t.Helper()
	p.secret(certificates(p.t, "127.0.0.1", time.Now(), 0))
	g := grant.Grant{
		Role: grant.Primary, Reason: "claims the bootstrap", Bootstrap: true, Epoch: epoch.Epoch{Local: 1}, Timeline: 1,
		Deadline: boottime.Now().Add(10 * time.Minute),
	}
	for _, c := range change {
		c(&g)
	}
	p.grant(g)
}

// grant writes a grant as keeper does: a file of the pod's user, renamed into place.
func (p *pod) grant(g grant.Grant) {
	p.t.Helper()
	boot, err := boottime.BootID()
	if err != nil {
		p.t.Fatal(err)
	}
	p.seq++
	g.Seq = p.seq
	if g.Holder == (grant.Incarnation{}) {
		g.Holder = grant.Incarnation{Member: p.member(), Pod: p.podUID(), Boot: boot}
	}
	err = podtest.Grant(p.Outside(p.dir), g, p.uid, p.gid)
	if err != nil {
		p.t.Fatal(err)
	}
}

// environment is what the chart gives to seed.
func (p *pod) environment(more ...string) []string {
	env := []string{"PGSPAN_POD_NAME=" + p.name, "PGSPAN_POD_UID=" + p.podUID(), "PGSPAN_NODE=here", "PGSPAN_VOLUME=" + p.volume, "PGSPAN_LOG_LEVEL=debug"}
	env = append(env, podtest.Environment(p.dir)...)
	return append(append(env, p.env...), more...)
}

// start starts the seed container; binary is an inside path.
func (p *pod) start(binary string, more ...string) *pgtest.Process {
	p.t.Helper()
	proc := p.Start(p.t, pgtest.Command{Path: binary, Env: p.environment(more...), UID: p.uid, GID: p.gid})
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("%s said:\n%s%s", p.name, proc.Stdout(), proc.Stderr())
		}
	})
	return proc
}

// seed runs seed to its end, which must be good.
func (p *pod) seed(more ...string) *pgtest.Process {
	p.t.Helper()
	proc := p.start(seedBinary(p.t, p.Root), more...)
	if code := proc.Wait(p.t, patience); code != 0 {
		p.t.Fatalf("seed: exit status %d\n%s", code, proc.Stderr())
	}
	return proc
}

func seedBinary(t testing.TB, root *pgtest.Root) string {
	return root.Install(t, pgtest.Build(t, "./agents/seed"))
}

// wait waits until the pod's state is what is wanted.
func (p *pod) wait(what string, ok func(grant.State) bool) grant.State {
	p.t.Helper()
	return podtest.AwaitState(p.t, p.Outside(p.dir), p.podUID(), what, ok)
}

// waitRefused waits for a refusal with these words.
func (p *pod) waitRefused(words string) grant.State {
	p.t.Helper()
	return p.wait("refused with "+words, func(s grant.State) bool { return s.Phase == grant.Refused && strings.Contains(s.Reason, words) })
}

// note is the volume's note; there must be one.
func (p *pod) note() notes.Member {
	p.t.Helper()
	m, ok, err := notes.ReadMember(p.paths())
	if err != nil || !ok {
		p.t.Fatalf("%s: no member note: %v", p.name, err)
	}
	return m
}

// data lists what lies where the data directory belongs.
func (p *pod) data(name string) string { return filepath.Join(p.paths().Data(), name) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// server is a server started on the pod's volume as guard would start it.
type server struct {
	p    *pod
	port int
	proc *pgtest.Process
}

func (p *pod) serve() *server {
	p.t.Helper()
	text, err := os.ReadFile(p.Outside(p.at("settings/settings.yaml")))
	if err != nil {
		p.t.Fatal(err)
	}
	set, err := settings.Parse(text)
	if err != nil {
		p.t.Fatal(err)
	}
	out, problems := pgconf.Render(pgconf.Input{
		Major: p.Major, Settings: set, Data: p.volume + "/pgdata", Conf: p.at("conf"), Keys: p.at("keys"), Socket: p.at("socket"),
	})
	if len(problems) > 0 {
		p.t.Fatal(problems)
	}
	s := &server{p: p, port: podtest.FreePort(p.t)}
	args := append([]string{}, out.CommandLine...)
	args = append(args, "-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(s.port))
	s.proc = p.Start(p.t, pgtest.Command{Path: p.BinDir() + "/postgres", Args: args, UID: p.uid, GID: p.gid})
	s.wait("SELECT 1", "1")
	return s
}

func (s *server) try(query string) (string, error) {
	return podtest.SQL(s.p.Root, s.p.at("socket"), s.port, s.p.uid, s.p.gid, query)
}

// wait asks until the answer is want.
func (s *server) wait(query, want string) {
	s.p.t.Helper()
	var got string
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, err = s.try(query); err == nil && got == want {
			return
		}
		select {
		case <-s.proc.Done():
			s.p.t.Fatalf("the server ended: %s", s.proc.Stderr())
		default:
		}
	}
	s.p.t.Fatalf("%s: got %q %v, want %q\n%s", query, got, err, want, s.proc.Stderr())
}
