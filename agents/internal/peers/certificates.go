package peers

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/agents/internal/keys"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// again is how long after a refused set to read it once more although no file has changed: a certificate may not have been valid yet.
const again = 10 * time.Second

// certificates is one pair and the CAs that peers are trusted by, as they stand in the mounted Secret. The server's pair and the client's are
// held apart, so that a problem with one of them does not silence both directions.
type certificates struct {
	dir  string
	want []keys.Want
	log  *slog.Logger

	mu      sync.Mutex
	seen    [3]stamp
	readAt  time.Time
	present *material
	problem error
}

// material is what one connection is made with. It is never changed; other material is another pointer.
type material struct {
	pair    tls.Certificate
	anchors *x509.CertPool
}

// stamp tells versions of a file apart without reading it. The inode is in it because a Secret's files are replaced as a directory.
type stamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

// newCertificates is about one of the pairs that keepers have: "server" or "keeper".
func newCertificates(dir, name string, log *slog.Logger) *certificates {
	c := &certificates{dir: dir, log: log.With("pair", name)}
	for _, w := range keys.Keeper() {
		if w.Name == name {
			c.want = append(c.want, w)
		}
	}
	return c
}

// current is the newest good material. A set that is wrong is told once and leaves the one of before in force; the error is for when there is none.
func (c *certificates) current() (*material, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The stamps are taken before reading: a change in between is then seen the next time.
	stamps := c.stamps()
	now := time.Now()
	if stamps != c.seen || c.readAt.IsZero() || (c.problem != nil && now.Sub(c.readAt) > again) {
		c.seen, c.readAt = stamps, now
		c.read(now)
	}
	if c.present == nil {
		return nil, c.problem
	}
	return c.present, nil
}

func (c *certificates) read(now time.Time) {
	last := c.problem
	set, err := keys.Read(c.dir, c.want, now)
	c.problem = err
	switch {
	case err != nil && (last == nil || last.Error() != err.Error()):
		c.log.Error("certificates refused", "error", err, "kept", c.present != nil)
	case err == nil && last != nil:
		c.log.Info("certificates good again")
	}
	if err != nil {
		return
	}
	pair, _ := set.Pair(c.want[0].Name)
	c.present = &material{pair: pair, anchors: set.Anchors()}
}

func (c *certificates) stamps() (s [3]stamp) {
	for i, name := range []string{keys.CA, c.want[0].Name + ".crt", c.want[0].Name + ".key"} {
		info, err := os.Stat(filepath.Join(c.dir, name))
		if err != nil {
			continue // reading will say why
		}
		s[i] = stamp{size: info.Size(), modified: info.ModTime()}
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			s[i].inode = sys.Ino
		}
	}
	return s
}

// admit reports why whoever is at the other end is not, or no longer, a keeper of this site. It is asked at the handshake and again at each
// request, so that a CA taken out of the Secret and the end of a certificate hold for open connections too.
func (m *material) admit(peer []*x509.Certificate, now time.Time) error {
	if len(peer) == 0 {
		return fmt.Errorf("no certificate was shown")
	}
	between := x509.NewCertPool()
	for _, c := range peer[1:] {
		between.AddCert(c)
	}
	o := x509.VerifyOptions{Roots: m.anchors, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := peer[0].Verify(o); err != nil {
		return err
	}
	if name := peer[0].Subject.CommonName; name != sitecerts.KeeperName {
		return fmt.Errorf("%q is not %s", name, sitecerts.KeeperName)
	}
	return nil
}

// serving is the configuration of one incoming connection.
func (m *material) serving() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{m.pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    m.anchors,
		// A ticket would let a peer in again without a look at its certificate.
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return m.admit(s.PeerCertificates, time.Now())
		},
	}
}

// calling is the configuration of one outgoing connection.
func (m *material) calling(host string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.pair}, RootCAs: m.anchors, ServerName: host}
}
