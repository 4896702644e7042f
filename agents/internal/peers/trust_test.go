package peers

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"
)

// get asks over an open connection and gives the status.
func get(conn *tls.Conn) (int, error) {
	if err := conn.SetDeadline(time.Now().Add(plenty)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", pathStanding); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestWhoMayAsk(t *testing.T) {
	ca, now := authority(t), time.Now()
	good := issue(t, ca, spec, now)
	expired := issue(t, ca, spec, now.AddDate(-2, 0, 0))
	foreign := issue(t, authority(t), spec, now)
	p := newPeer(t, good)
	for name, c := range map[string]struct {
		bundle sitecerts.Bundle
		pair   string
		change func(*tls.Config)
		want   string // in the error; empty: answered
	}{
		"keeper":                       {good, "keeper", nil, ""},
		"no_certificate":               {good, "", nil, "certificate required"},
		"foreign_ca":                   {with(foreign, map[string][]byte{"ca.crt": good["ca.crt"]}), "keeper", nil, "unknown certificate authority"},
		"expired":                      {expired, "keeper", nil, "expired certificate"},
		"other_login_of_the_same_ca":   {good, "replication", nil, "bad certificate"},
		"person_is_no_keeper":          {good, "operator", nil, "bad certificate"},
		"server_pair_is_no_login":      {good, "server", nil, "bad certificate"},
		"older_tls":                    {good, "keeper", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "protocol version"},
		"http2_is_not_offered":         {good, "keeper", func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, ""},
		"chain_with_the_foreign_ca":    {with(foreign, map[string][]byte{"ca.crt": good["ca.crt"], "keeper.crt": slices.Concat(foreign["keeper.crt"], foreign["ca.crt"])}), "keeper", nil, "unknown certificate authority"},
		"keepers_name_by_a_foreign_ca": {with(good, map[string][]byte{"keeper.crt": foreign["keeper.crt"], "keeper.key": foreign["keeper.key"]}), "keeper", nil, "unknown certificate authority"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := raw(t, p, c.bundle, c.pair, c.change)
			status := 0
			if err == nil {
				status, err = get(conn)
			}
			switch {
			case c.want == "" && (err != nil || status != http.StatusOK):
				t.Errorf("got %d, %v: want an answer", status, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %d, %v: want %q", status, err, c.want)
			case err == nil && conn.ConnectionState().NegotiatedProtocol != "" && conn.ConnectionState().NegotiatedProtocol != "http/1.1":
				t.Errorf("got protocol %q", conn.ConnectionState().NegotiatedProtocol)
			}
		})
	}
}

func TestWhoMayAnswer(t *testing.T) {
	ca, now := authority(t), time.Now()
	good := issue(t, ca, spec, now)
	other := spec
	other.Sites = []sitecerts.Site{{Fullname: "other", Namespaces: []string{"ns"}, ClusterDomain: "cluster.local"}}
	p := newPeer(t, good)
	for name, c := range map[string]struct {
		shown tls.Certificate
		want  string
	}{
		"server":             {keyPair(t, good, "server"), ""},
		"foreign_ca":         {keyPair(t, issue(t, authority(t), spec, now), "server"), "unknown authority"},
		"expired":            {keyPair(t, issue(t, ca, spec, now.AddDate(-2, 0, 0)), "server"), "expired"},
		"another_releases":   {keyPair(t, issue(t, ca, other, now), "server"), "not db-replica"},
		"keepers_pair_shown": {keyPair(t, good, "keeper"), "not valid for any names"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newPeer(t, good)
			o.stop()
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c.shown}})
			if err != nil {
				t.Fatal(err)
			}
			o.at = l.Addr().String()
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s := o.ask(); s.Format = Format; reply(w, s) }), ReadHeaderTimeout: plenty}
			go func() { _ = server.Serve(l) }()
			defer server.Close()
			_, err = p.asks(o)
			if got := fmt.Sprint(err); (c.want == "") != (err == nil) || !strings.Contains(got, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestRotatedCertificateIsServedWithoutRestart(t *testing.T) {
	ca, now := authority(t), time.Now()
	first, second := issue(t, ca, spec, now), issue(t, ca, spec, now)
	p, o := newPeer(t, first), newPeer(t, first)
	heard(t, p, o)
	kept := p.client.links[o.ID].conn
	heard(t, p, o)
	if p.client.links[o.ID].conn != kept {
		t.Fatal("the connection was not kept")
	}
	rotate(t, o.dir, second)
	conn, err := raw(t, o, first, "keeper", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := conn.ConnectionState().PeerCertificates[0].SerialNumber, keyPair(t, second, "server").Leaf.SerialNumber; got.Cmp(want) != 0 {
		t.Errorf("got serial %v, want that of the new certificate, %v", got, want)
	}
	rotate(t, p.dir, second)
	heard(t, p, o)
	if p.client.links[o.ID].conn == kept {
		t.Error("the connection of the certificates of before is still used")
	}
}

// Both ways round the order of rollouts, each step at one pod after the other.
func TestCAIsReplacedWhileKeepersTalk(t *testing.T) {
	now := time.Now()
	before, after := issue(t, authority(t), spec, now), issue(t, authority(t), spec, now)
	both := map[string][]byte{"ca.crt": slices.Concat(before["ca.crt"], after["ca.crt"])}
	a, b := newPeer(t, before), newPeer(t, before)
	for i, files := range []sitecerts.Bundle{before, with(before, both), with(after, both), after} {
		for _, p := range []*peer{a, b} {
			rotate(t, p.dir, files)
			if _, err := a.asks(b); err != nil {
				t.Errorf("step %d, after %s: %v", i, p.Pod, err)
			}
			if _, err := b.asks(a); err != nil {
				t.Errorf("step %d, after %s: %v", i, p.Pod, err)
			}
		}
	}
	if _, err := raw(t, a, with(before, both), "keeper", nil); err != nil {
		t.Fatal(err) // in TLS 1.3 the refusal comes later
	}
	conn, _ := raw(t, a, with(before, both), "keeper", nil)
	if status, err := get(conn); err == nil {
		t.Errorf("got %d: a certificate of the CA that was taken out is still good", status)
	}
}

func TestOpenConnectionEnds(t *testing.T) {
	now := time.Now()
	ca := authority(t)
	good := issue(t, ca, spec, now)
	short := spec
	short.LeafLife = 4 * time.Hour
	for name, c := range map[string]struct {
		client sitecerts.Bundle
		then   func(dir string)
	}{
		"with_its_ca":          {good, func(dir string) { rotate(t, dir, issue(t, authority(t), spec, now)) }},
		"with_its_certificate": {issue(t, ca, short, now.Add(-short.LeafLife+3*time.Second)), func(string) {}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, good)
			conn, err := raw(t, p, c.client, "keeper", nil)
			if err != nil {
				t.Fatal(err)
			}
			if status, err := get(conn); err != nil || status != http.StatusOK {
				t.Fatalf("got %d, %v", status, err)
			}
			c.then(p.dir)
			eventually(t, "refused", func() bool {
				status, err := get(conn)
				if err != nil {
					t.Fatal(err)
				}
				return status == http.StatusForbidden
			})
			if _, err := get(conn); err == nil {
				t.Error("the connection is still open")
			}
		})
	}
}

// The client too looks at how long the certificate of a kept connection is good.
func TestKeptConnectionEndsWithTheCertificateShown(t *testing.T) {
	now := time.Now()
	ca := authority(t)
	short := spec
	short.LeafLife = 4 * time.Hour
	p, o := newPeer(t, issue(t, ca, spec, now)), newPeer(t, issue(t, ca, short, now.Add(-short.LeafLife+3*time.Second)))
	heard(t, p, o)
	eventually(t, "refused", func() bool {
		_, err := p.asks(o)
		return err != nil && strings.Contains(err.Error(), "expired")
	})
}

func TestBrokenPairKeepsTheOldOneAndIsToldOnce(t *testing.T) {
	ca, now := authority(t), time.Now()
	good, next := issue(t, ca, spec, now), issue(t, ca, spec, now)
	p, o := newPeer(t, good), newPeer(t, good)
	heard(t, p, o)
	rotate(t, o.dir, with(next, map[string][]byte{"server.key": good["server.key"]}))
	rotate(t, p.dir, with(next, map[string][]byte{"keeper.crt": nil}))
	for range 5 {
		p.client.Close() // each time with a handshake
		heard(t, p, o)
	}
	for _, who := range []*peer{p, o} {
		if got := who.log.count("certificates refused"); got != 1 {
			t.Errorf("%s told it %d times", who.Pod, got)
		}
		if who.log.count(`"kept":true`) != 1 {
			t.Errorf("%s does not say that the old pair is kept", who.Pod)
		}
		if strings.Contains(who.log.String(), "PRIVATE") {
			t.Error("a key is in the log")
		}
		rotate(t, who.dir, next)
	}
	heard(t, p, o)
	eventually(t, "both say that it is over", func() bool {
		return p.log.count("certificates good again") == 1 && o.log.count("certificates good again") == 1
	})
}

// A node's clock is behind, and is set right: no file changes.
func TestCertificateThatWasNotValidYet(t *testing.T) {
	ca, now := authority(t), time.Now()
	p, o := newPeer(t, issue(t, ca, spec, now.Add(sitecerts.Backdate+2*time.Second))), newPeer(t, issue(t, ca, spec, now))
	if _, err := p.asks(o); err == nil || !strings.Contains(err.Error(), "not valid before") {
		t.Fatalf("got %v", err)
	}
	eventually(t, "it is taken", func() bool {
		c := p.client.certificates
		c.mu.Lock()
		c.readAt = c.readAt.Add(-again) // as if so much time had passed
		c.mu.Unlock()
		_, err := p.asks(o)
		return err == nil
	})
}

func TestNoCertificatesYet(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, sitecerts.Bundle{}), newPeer(t, good)
	if _, err := p.asks(o); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("asking: got %v", err)
	}
	if _, err := o.asks(p); err == nil {
		t.Error("answering without a certificate")
	}
	rotate(t, p.dir, good)
	heard(t, p, o)
	heard(t, o, p)
}

func TestHostThatIsNotKnownIsNotAsked(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	for _, change := range []func(){func() { o.Host = "" }, func() { o.Host, o.Address = "x", "" }} {
		change()
		if a := p.client.Ask(context.Background(), p.knows(o), p.ID, plenty)[o.ID]; a.Err == nil || !strings.Contains(a.Err.Error(), "not known") {
			t.Errorf("got %v", a.Err)
		}
	}
}
