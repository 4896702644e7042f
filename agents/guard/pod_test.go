package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/podtest"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// fenceAfter is the length of a fresh grant in these tests.
const fenceAfter = 3 * time.Second

const patience = podtest.Patience

// pod is a database pod without Kubernetes: its volumes, the guard container, and a keeper that says what the test tells it to.
type pod struct {
	*pgtest.Root
	t      testing.TB
	name   string
	member string
	volume string // inside path; two pods may have the same
	dir    string // inside path of everything else
	port   int
	probes string // host:port of /livez
	env    []string
	proc   *pgtest.Process

	mu     sync.Mutex
	grant  grant.Grant
	frozen bool
	// renewStop gives a stop a deadline, as for a primary that shuts down.
	renewStop bool
}

// newPod makes a pod on a volume, with nothing running in it.
func newPod(t testing.TB, root *pgtest.Root, name, volume string) *pod {
	t.Helper()
	p := &pod{Root: root, t: t, name: name, member: "volume" + filepath.Base(volume), volume: volume, dir: root.TempDir(t)}
	p.port = podtest.FreePort(t)
	p.probes = "127.0.0.1:" + strconv.Itoa(podtest.FreePort(t))
	podtest.MakePlaces(t, root, p.dir)
	p.settings("")
	p.certificates()
	boot, err := boottime.BootID()
	if err != nil {
		t.Fatal(err)
	}
	p.grant = grant.Grant{Holder: grant.Incarnation{Member: p.member, Pod: p.uid(), Boot: boot}, Role: grant.Wait, Reason: "the test begins"}
	go p.keep()
	return p
}

func (p *pod) uid() string            { return "uid-of-" + p.name }
func (p *pod) at(place string) string { return p.dir + "/" + place }
func (p *pod) paths() layout.Paths    { return layout.In(p.Outside(p.volume)) }
func (p *pod) data(name string) string {
	return filepath.Join(p.paths().Data(), name)
}

// settings writes what the chart would; more is YAML below the key postgresql.
func (p *pod) settings(more string) {
	p.WriteFile(p.t, p.at("settings/settings.yaml"), fmt.Appendf(nil, `release: db
clusterDomain: cluster.local
major: %d
port: %d
members: {primary: 1, replicas: 1}
postgresql:
  parameters: {shared_buffers: 16MB, max_connections: "100"}
%s`, p.Major, p.port, more), 0o600)
}

// certificates writes a new set of keys, as a rotated Secret would bring them.
func (p *pod) certificates() {
	bundle, err := sitecerts.Generate(sitecerts.Spec{Sites: []sitecerts.Site{{Fullname: "db", Namespaces: []string{"default"}, ClusterDomain: "cluster.local"}}}, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	for name, content := range bundle {
		p.WriteFile(p.t, p.at("tls/"+name), content, 0o600)
	}
}

// copyCertificates gives this pod the keys of another one, as all pods of a release have them from one Secret.
func (p *pod) copyCertificates(from *pod) {
	files, err := os.ReadDir(from.Outside(from.at("tls")))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range files {
		p.WriteFile(p.t, p.at("tls/"+f.Name()), from.ReadFile(p.t, from.at("tls/"+f.Name())), 0o600)
	}
}

// start starts the container.
func (p *pod) start() {
	p.t.Helper()
	guard := p.Install(p.t, pgtest.Build(p.t, "./agents/guard"))
	env := []string{
		"PGSPAN_POD_NAME=" + p.name, "PGSPAN_POD_UID=" + p.uid(), "PGSPAN_POD_IP=127.0.0.1", "PGSPAN_NAMESPACE=default", "PGSPAN_NODE=here",
		"PGSPAN_BORN_AS=primary", "PGSPAN_VOLUME=" + p.volume, "PGSPAN_LISTEN=" + p.probes,
		"PGSPAN_FENCE_AFTER=" + fenceAfter.String(), "PGSPAN_STOP_TIMEOUT=30s",
	}
	env = append(append(env, podtest.Environment(p.dir)...), "PGSPAN_BIN="+filepath.Dir(guard))
	proc := p.Start(p.t, pgtest.Command{Path: guard, Env: append(env, p.env...)})
	p.proc = proc
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("%s (process %d) said:\n%s%s", p.name, proc.PID, proc.Stdout(), proc.Stderr())
		}
	})
}

// keep renews the grant, as keeper does, unless it is frozen.
func (p *pod) keep() {
	for p.t.Context().Err() == nil {
		p.mu.Lock()
		if !p.frozen {
			p.write()
		}
		p.mu.Unlock()
		time.Sleep(300 * time.Millisecond)
	}
}

// write writes the grant under mu: a file of the pod's user, renamed into place.
func (p *pod) write() {
	if p.t.Context().Err() != nil {
		return // the pod's directories are about to go
	}
	p.grant.Seq++
	p.grant.Deadline = 0
	if p.grant.Role == grant.Primary || p.grant.Role == grant.Stop && p.renewStop {
		p.grant.Deadline = boottime.Now().Add(fenceAfter)
	}
	err := podtest.Grant(p.Outside(p.dir), p.grant, pgtest.UID, pgtest.GID)
	if err != nil && p.t.Context().Err() == nil {
		p.t.Errorf("write grant: %v", err)
	}
}

// order changes what keeper grants, at once and from then on.
func (p *pod) order(change func(g *grant.Grant)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.grant)
	p.write()
}

func (p *pod) orderPrimary(local uint64, timeline uint32) {
	p.order(func(g *grant.Grant) {
		g.Role, g.Reason, g.Upstream = grant.Primary, "holds the lease", nil
		g.Epoch, g.Timeline = epoch.Epoch{Local: local}, timeline
	})
}

func (p *pod) orderReplica(of *grant.Upstream) {
	p.order(func(g *grant.Grant) { g.Role, g.Reason, g.Upstream = grant.Replica, "follows", of })
}

func (p *pod) orderStop() {
	p.order(func(g *grant.Grant) { g.Role, g.Reason = grant.Stop, "the test says stop" })
}

// freeze stops keeper; it returns the deadline of the last grant that it wrote.
func (p *pod) freeze() boottime.Instant {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
	return p.grant.Deadline
}

func (p *pod) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
}

// bootstrap lets the pod make a database and be its first primary.
func (p *pod) bootstrap() {
	p.t.Helper()
	p.order(func(g *grant.Grant) {
		g.Role, g.Reason, g.Bootstrap, g.Epoch, g.Timeline = grant.Primary, "claims the bootstrap", true, epoch.Epoch{Local: 1}, 1
	})
	p.start()
	p.waitRunning(grant.Writable)
	id := p.sql("SELECT system_identifier FROM pg_control_system()")
	p.order(func(g *grant.Grant) { g.Bootstrap, g.SystemID = false, id })
}

// running is a pod with a primary that was bootstrapped before: the same as bootstrap, without the time that initdb takes.
func running(t testing.TB, major int, change ...func(p *pod)) *pod {
	t.Helper()
	root := pgtest.OpenRoot(t, major)
	p := newPod(t, root, "db-0", root.TempDir(t))
	for _, c := range change {
		c(p)
	}
	pgtest.New(t, major, pgtest.WithVolume(p.volume))
	first := epoch.Epoch{Local: 1}
	note := notes.Member{Member: p.member, SystemID: p.control("Database system identifier"), Major: major}
	note.Reign(first, "", 1)
	if err := notes.Make(p.paths()); err != nil {
		t.Fatal(err)
	}
	if err := notes.WriteMember(p.paths(), note); err != nil {
		t.Fatal(err)
	}
	p.Chown(t, p.volume, pgtest.UID, pgtest.GID)
	p.order(func(g *grant.Grant) { g.SystemID = note.SystemID })
	p.orderPrimary(1, 1)
	p.start()
	p.waitRunning(grant.Writable)
	return p
}

// wait waits until the state file of this pod says what is wanted, freshly.
func (p *pod) wait(what string, ok func(grant.State) bool) grant.State {
	p.t.Helper()
	return podtest.AwaitState(p.t, p.Outside(p.dir), p.uid(), what, ok)
}

func (p *pod) waitRunning(as grant.Server) grant.State {
	p.t.Helper()
	return p.wait("runs as "+string(as), func(s grant.State) bool { return s.Phase == grant.Running && s.Server == as })
}

func (p *pod) waitStopped() grant.State {
	p.t.Helper()
	return p.wait("is stopped", func(s grant.State) bool { return s.Phase == grant.Stopped && s.Server == grant.Down })
}

func (p *pod) trySQL(statements string) (string, error) {
	return podtest.SQL(p.Root, p.at("socket"), p.port, pgtest.UID, pgtest.GID, statements)
}

func (p *pod) sql(statements string) string {
	p.t.Helper()
	out, err := p.trySQL(statements)
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, statements, err)
	}
	return out
}

// socketURL is for clients outside the container. The path of a Unix socket may have 107 bytes, so the directory goes by a descriptor.
func (p *pod) socketURL() string {
	dir, err := os.Open(p.Outside(p.at("socket")))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { dir.Close() })
	return fmt.Sprintf("host=/proc/self/fd/%d port=%d user=postgres dbname=postgres", dir.Fd(), p.port)
}

// control returns a line of pg_controldata.
func (p *pod) control(line string) string {
	p.t.Helper()
	out, err := p.Run(pgtest.Command{Path: p.BinDir() + "/pg_controldata", Args: []string{p.volume + "/pgdata"}})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, l := range strings.Split(out, "\n") {
		if name, value, ok := strings.Cut(l, ":"); ok && name == line {
			return strings.TrimSpace(value)
		}
	}
	p.t.Fatalf("pg_controldata has no %q:\n%s", line, out)
	return ""
}

func (p *pod) signal(pid int, sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		p.t.Fatalf("signal %v to %d: %v", sig, pid, err)
	}
}

// eachMajor runs a test on every major version that is supported, several at once.
func eachMajor(t *testing.T, test func(t *testing.T, major int)) {
	eachMajorAlone(t, func(t *testing.T, major int) {
		t.Parallel()
		test(t, major)
	})
}

// eachMajorAlone is eachMajor one after the other, for tests that measure time.
func eachMajorAlone(t *testing.T, test func(t *testing.T, major int)) {
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) { test(t, major) })
	}
}

// TestMain lets three tests run at once, however few processors there are: they mostly wait. More would slow each other down until the
// times that guard keeps are missed.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("3"); err != nil {
			panic(err) // a number is a number
		}
	}
	os.Exit(m.Run())
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	podtest.Eventually(t, what, func() (bool, any) { return ok(), "nothing but that" })
}
