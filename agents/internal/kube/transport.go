package kube

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/transport"
)

const (
	// dialTimeout and handshakeTimeout bound what a silently dead API server can cost before the next address is tried.
	dialTimeout      = time.Second
	handshakeTimeout = time.Second
)

// impatient talks HTTP/1.1 only: an HTTP/2 connection to a server that lost its power is used for up to 45 s by default, longer
// than a lease (SAFETY D32). After any failure the connections are closed, so that the next request dials anew and may reach
// another API server behind the same address.
type impatient struct {
	base  *http.Transport
	with  http.RoundTripper // base, with the pod's token on each request
	stale atomic.Bool
}

// newTransport makes a transport of its own. userTimeout closes connections on which sent bytes stay unacknowledged for that long.
func newTransport(caFile, tokenFile string, userTimeout time.Duration) (*impatient, error) {
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
	base := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: handshakeTimeout,
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		// A non-nil empty map is how net/http is told never to speak HTTP/2.
		TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConns:       2,
		IdleConnTimeout:    30 * time.Second,
		DisableCompression: true,
	}
	// Read again each minute, and after an answer that the token is not known; the last one is kept while the file cannot be read.
	token := transport.NewCachedFileTokenSource(tokenFile)
	return &impatient{base: base, with: transport.ResettableTokenSourceWrapTransport(token)(base)}, nil
}

// RoundTrip implements http.RoundTripper.
func (t *impatient) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.stale.Swap(false) {
		t.base.CloseIdleConnections()
	}
	resp, err := t.with.RoundTrip(req)
	switch {
	case err != nil:
		t.stale.Store(true)
		return nil, err
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		t.stale.Store(true)
	}
	return resp, nil
}
