package pgpool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	sitecerts "github.com/pgspan/pgspan/tls"
)

// testHost is no name that every certificate of ours carries, as localhost is.
const testHost = "127.3.3.3"

// answering listens as a server would that answers a request for TLS in this way, and gives what came after it.
func answering(t *testing.T, answer byte, certs sitecerts.Bundle) (port int, after <-chan int) {
	t.Helper()
	listener, err := net.Listen("tcp", testHost+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	pair, err := tls.X509KeyPair(certs["server.crt"], certs["server.key"])
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int, 8)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
					return
				}
				if answer == 0 {
					_, _ = conn.Read(make([]byte, 1)) // until the client gives up
					return
				}
				if _, err := conn.Write([]byte{answer}); err != nil {
					return
				}
				if answer == 'S' {
					conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
				}
				n, _ := conn.Read(make([]byte, 1))
				got <- n
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, got
}

func TestDialTrustsNobodyElse(t *testing.T) {
	make := func(name string) sitecerts.Bundle {
		bundle, err := sitecerts.Generate(sitecerts.Spec{ExtraNames: []string{name}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return bundle
	}
	ours, others, misnamed := make(testHost), make(testHost), make("127.3.3.4")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ours["ca.crt"])
	roots.AppendCertsFromPEM(misnamed["ca.crt"])

	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	cases := map[string]struct {
		answer byte
		certs  sitecerts.Bundle
		want   func(error) bool
	}{
		"trusted":                        {'S', ours, func(err error) bool { return err == nil }},
		"server_that_says_it_has_no_tls": {'N', ours, func(err error) bool { return errors.Is(err, errNoTLS) }},
		"server_that_answers_an_error":   {'E', ours, func(err error) bool { return errors.Is(err, errNoTLS) }},
		"certificate_of_another_ca":      {'S', others, func(err error) bool { return errors.As(err, &authority) }},
		"certificate_of_another_name":    {'S', misnamed, func(err error) bool { return errors.As(err, &hostname) }},
		"server_that_hangs":              {0, ours, func(err error) bool { return errors.Is(err, unix.ETIMEDOUT) || isTimeout(err) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := 10 * time.Second
			if c.answer == 0 {
				limit = time.Second
			}
			port, after := answering(t, c.answer, c.certs)
			s := &service{backend: Backend{Host: testHost, Port: port}, limit: limit,
				trust: func() *tls.Config { return &tls.Config{RootCAs: roots} }}
			start := time.Now()
			conn, err := s.dial(context.Background())
			if !c.want(err) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > limit+slack {
				t.Errorf("took %s", took)
			}
			if s.doubtful.Load() != (err != nil) {
				t.Errorf("doubtful is %v after %v", s.doubtful.Load(), err)
			}
			if err == nil {
				conn.Close()
			}
			if c.answer != 0 {
				if n := <-after; n != 0 {
					t.Error("something was sent to a server that was not trusted")
				}
			}
		})
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestServerThatHangsIsNotReached(t *testing.T) {
	bundle, err := sitecerts.Generate(sitecerts.Spec{ExtraNames: []string{testHost}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	port, _ := answering(t, 0, bundle)
	s := &service{backend: Backend{Host: testHost, Port: port}, limit: time.Second,
		trust: func() *tls.Config { return &tls.Config{} }}
	if err := s.reachable(context.Background()); err != nil {
		t.Errorf("by TCP: %v", err)
	}
	if _, err := s.dial(context.Background()); err == nil {
		t.Fatal("dialled")
	}
	if err := s.reachable(context.Background()); err == nil {
		t.Error("still counts as reached after a session could not be opened")
	}
}

func TestSilentServerIsNoticed(t *testing.T) {
	listener, err := net.Listen("tcp", testHost+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := &service{backend: Backend{Host: testHost, Port: listener.Addr().(*net.TCPAddr).Port}}
	conn, err := s.connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (value int) {
		if err := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if got, want := option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT), 10000; got != want {
		t.Errorf("TCP_USER_TIMEOUT: got %d ms, want %d", got, want)
	}
	if got := option(unix.SOL_SOCKET, unix.SO_KEEPALIVE); got == 0 {
		t.Error("no keep-alive: a quiet connection to a dead server would never end")
	}
	if got, want := option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), 5; got != want {
		t.Errorf("TCP_KEEPIDLE: got %d s, want %d", got, want)
	}
}
