package kube

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dialTimeout and handshakeTimeout bound what a silently dead API server can cost before the next address is tried.
	dialTimeout      = time.Second
	handshakeTimeout = time.Second
	// tokenAge is how old a token read from the file may be. kubelet replaces projected tokens long before they end.
	tokenAge = time.Minute
)

// transport talks HTTP/1.1 only: an HTTP/2 connection to a server that lost its power is used for up to 45 s by default, longer
// than a lease (SAFETY D32). After any failure the connections are closed, so that the next request dials anew and may reach
// another API server behind the same address.
type transport struct {
	base  *http.Transport
	stale atomic.Bool

	tokenFile string
	mu        sync.Mutex
	token     string
	readAt    time.Time
}

// newTransport makes a transport of its own. userTimeout closes connections on which sent bytes stay unacknowledged for that long.
func newTransport(caFile, tokenFile string, userTimeout time.Duration) (*transport, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the cluster's CA: no certificate in %s", caFile)
	}
	dialer := &net.Dialer{
		Timeout:   dialTimeout,
		KeepAlive: 15 * time.Second,
		Control: func(_, _ string, c syscall.RawConn) error {
			var set error
			err := c.Control(func(fd uintptr) {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
			})
			if err != nil {
				return err
			}
			return set
		},
	}
	return &transport{
		tokenFile: tokenFile,
		base: &http.Transport{
			DialContext:         dialer.DialContext,
			TLSHandshakeTimeout: handshakeTimeout,
			TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
			// A non-nil empty map is how net/http is told never to speak HTTP/2.
			TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{},
			MaxIdleConns:       2,
			IdleConnTimeout:    30 * time.Second,
			DisableCompression: true,
		},
	}, nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.stale.Swap(false) {
		t.base.CloseIdleConnections()
	}
	token, err := t.bearer()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := t.base.RoundTrip(req)
	switch {
	case err != nil:
		t.stale.Store(true)
		return nil, err
	case resp.StatusCode == http.StatusUnauthorized:
		t.forget()
		t.stale.Store(true)
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		t.stale.Store(true)
	}
	return resp, nil
}

// bearer returns the token, read again when it is old: the file is replaced while we run.
func (t *transport) bearer() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" && time.Since(t.readAt) < tokenAge {
		return t.token, nil
	}
	b, err := os.ReadFile(t.tokenFile)
	if err != nil {
		if t.token != "" { // the old one is worth a try
			return t.token, nil
		}
		return "", fmt.Errorf("read the API token: %w", err)
	}
	t.token, t.readAt = strings.TrimSpace(string(b)), time.Now()
	return t.token, nil
}

// forget makes the next request read the token again.
func (t *transport) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readAt = time.Time{}
}
