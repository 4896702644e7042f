package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// plenty is for what must succeed, however busy the machine is.
const plenty = 20 * time.Second

var spec = sitecerts.Spec{Sites: []sitecerts.Site{{Fullname: "db", Namespaces: []string{"ns"}, ClusterDomain: "cluster.local"}}}

// authority makes a CA that is old enough to have signed what has expired.
func authority(t testing.TB) sitecerts.Authority {
	t.Helper()
	a, err := sitecerts.NewAuthority(spec, time.Now().AddDate(-3, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes all the pairs as they would have been made at a time.
func issue(t testing.TB, a sitecerts.Authority, s sitecerts.Spec, at time.Time) sitecerts.Bundle {
	t.Helper()
	b, err := sitecerts.Issue(a, s, at)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mount makes a directory as kubelet mounts a Secret.
func mount(t testing.TB, files sitecerts.Bundle) string {
	t.Helper()
	dir := t.TempDir()
	rotate(t, dir, files)
	return dir
}

var versions int

// rotate replaces a mounted Secret's files as kubelet does: a new directory, and one link moved to it.
func rotate(t testing.TB, dir string, files sitecerts.Bundle) {
	t.Helper()
	versions++
	data := fmt.Sprintf("..version_%d", versions)
	if err := os.Mkdir(filepath.Join(dir, data), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files.Shared() {
		if err := os.WriteFile(filepath.Join(dir, data, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)) // there already after the first time
	}
	if err := os.Symlink(data, filepath.Join(dir, "..next")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

// with is a bundle with some files replaced.
func with(b sitecerts.Bundle, files map[string][]byte) sitecerts.Bundle {
	out := maps.Clone(b)
	maps.Copy(out, files)
	return out
}

// lines is a log to look at.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) count(s string) int { return strings.Count(l.String(), s) }

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// peer is a keeper as far as this package goes.
type peer struct {
	record.Member
	at      string // where it listens
	dir     string
	log     *lines
	client  *Client
	ask     func() Standing
	nudged  func(grant.Incarnation, epoch.Version)
	promise func(Plea) Promise
	relay   func(context.Context, string, record.Record) (string, error)
	stop    func()
}

var numbers int

// newPeer starts a keeper on an address of loopback.
func newPeer(t testing.TB, files sitecerts.Bundle) *peer {
	t.Helper()
	numbers++
	pod := fmt.Sprintf("db-replica-%d", numbers)
	p := &peer{
		Member: record.Member{ID: fmt.Sprintf("volume-%d", numbers), Pod: pod, Host: pod + ".db-members.ns.svc.cluster.local", Address: "127.0.0.1", Port: 5432},
		dir:    mount(t, files), log: &lines{},
	}
	p.ask = func() Standing {
		return Standing{Me: p.me(), Pod: pod, Version: epoch.Version{Epoch: epoch.Epoch{Site: 1, Local: 2}, Beat: 3}, Known: true, Timeline: 4, Position: 0x16_B374D848, MayWin: true}
	}
	p.nudged = func(grant.Incarnation, epoch.Version) {}
	p.client = NewClient(ClientOptions{TLSDir: p.dir, Log: p.log.logger()})
	t.Cleanup(p.client.Close)
	p.start(t, "127.0.0.1:0")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", pod, p.log)
		}
	})
	return p
}

func (p *peer) me() grant.Incarnation {
	return grant.Incarnation{Member: p.ID, Pod: "uid-of-" + p.Pod, Boot: "boot"}
}

// start listens; stop ends that as the end of the process does.
func (p *peer) start(t testing.TB, address string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := listen(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	p.at = l.Addr().String()
	s := New(Options{TLSDir: p.dir, Log: p.log.logger(), Standing: func() Standing { return p.ask() },
		Promise: func(x Plea) Promise { return p.promise(x) },
		Relay: func(ctx context.Context, version string, r record.Record) (string, error) {
			if p.relay == nil {
				return "", errors.New("this one writes for nobody")
			}
			return p.relay(ctx, version, r)
		},
		Nudge: func(from grant.Incarnation, v epoch.Version) { p.nudged(from, v) }})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.serve(ctx, l) }()
	p.stop = func() { cancel(); <-done }
	t.Cleanup(p.stop)
}

// knows lets p find the others, which all have the one address of loopback.
func (p *peer) knows(others ...*peer) []record.Member {
	at := map[string]string{}
	var all []record.Member
	for _, o := range others {
		at[o.ID] = o.at
		all = append(all, o.Member)
	}
	p.client.address = func(m record.Member) string { return at[m.ID] }
	return all
}

// asks is one question to one other, for which there is plenty of time.
func (p *peer) asks(o *peer) (Standing, error) {
	a := p.client.Ask(context.Background(), p.knows(o), p.ID, plenty)[o.ID]
	return a.Standing, a.Err
}

func heard(t testing.TB, p, o *peer) Standing {
	t.Helper()
	s, err := p.asks(o)
	if err != nil {
		t.Fatalf("%s asks %s: %v", p.Pod, o.Pod, err)
	}
	return s
}

// raw is a connection by hand, with one of a bundle's pairs or with none.
func raw(t testing.TB, p *peer, b sitecerts.Bundle, pair string, change func(*tls.Config)) (*tls.Conn, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b["ca.crt"])
	c := &tls.Config{RootCAs: roots, ServerName: p.Host}
	if pair != "" {
		// Shown even if the server's list of CAs says that it will be refused.
		shown := keyPair(t, b, pair)
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
	}
	if change != nil {
		change(c)
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: plenty}, "tcp", p.at, c)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func keyPair(t testing.TB, b sitecerts.Bundle, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(b[name+".crt"], b[name+".key"])
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func eventually(t testing.TB, what string, good func() bool) {
	t.Helper()
	for end := time.Now().Add(plenty); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if good() {
			return
		}
	}
	t.Fatalf("not within %v: %s", plenty, what)
}
