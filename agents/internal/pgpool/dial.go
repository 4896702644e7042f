package pgpool

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// connectLimit bounds finding a Service and reaching it by TCP, which the kernel of the other side does however busy the server is.
	connectLimit = time.Second
	// An attempt in all, with TLS: the server starts a process for it. There is no other primary to be had, but instead of a replica that
	// is slow another one may be.
	primaryLimit  = 4 * time.Second
	replicasLimit = 1500 * time.Millisecond
	// silence is how long a server may leave what was sent to it unacknowledged, or a quiet connection unanswered, before the connection
	// counts as dead. The kernel alone would take a quarter of an hour, and a session would hang for as long.
	silence = 10 * time.Second

	// piece is how much is received and passed on at once, at most.
	piece = 32 << 10

	sslRequest = 80877103
)

// service opens connections to one of the role Services.
type service struct {
	backend Backend
	// limit bounds dial.
	limit time.Duration
	// trust gives the present TLS configuration; a rotated CA holds from the next connection on.
	trust func() *tls.Config
	// doubtful: the last connection did not get through TLS, so the next look goes as far. Otherwise a look is a TCP connection only,
	// which costs the server little and leaves no line in its log.
	doubtful atomic.Bool
}

// upstream is a connection to a server over TLS.
type upstream struct {
	*tls.Conn
	// in holds what was received and is not yet decrypted.
	in *bufio.Reader
}

// received is a connection that is read through a buffer.
type received struct {
	net.Conn
	in *bufio.Reader
}

func (r received) Read(p []byte) (int, error) { return r.in.Read(p) }

var errNoTLS = errors.New("the server offers no TLS")

func (s *service) address() string {
	return net.JoinHostPort(s.backend.Host, strconv.Itoa(s.backend.Port))
}

func (s *service) connect(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:         connectLimit,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 2, Interval: silence / 5, Count: 3},
		Control: func(_, _ string, c syscall.RawConn) error {
			var problem error
			err := c.Control(func(fd uintptr) {
				problem = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence/time.Millisecond))
			})
			return errors.Join(err, problem)
		},
	}
	return dialer.DialContext(ctx, "tcp", s.address())
}

// dial opens a connection over TLS and verifies the server's certificate and name, which pgpool itself cannot do.
func (s *service) dial(ctx context.Context) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	raw, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.secure(ctx, raw)
	if err != nil {
		raw.Close()
	}
	s.doubtful.Store(err != nil)
	return conn, err
}

func (s *service) secure(ctx context.Context, raw net.Conn) (*upstream, error) {
	deadline, _ := ctx.Deadline()
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, err
	}
	ask := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), sslRequest)
	if _, err := raw.Write(ask); err != nil {
		return nil, fmt.Errorf("ask for TLS: %w", err)
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(raw, answer); err != nil {
		return nil, fmt.Errorf("ask for TLS: %w", err)
	}
	if answer[0] != 'S' {
		return nil, errNoTLS
	}
	config := s.trust().Clone()
	config.ServerName = s.backend.Host
	in := bufio.NewReaderSize(raw, piece)
	conn := tls.Client(received{raw, in}, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("begin TLS: %w", err)
	}
	return &upstream{conn, in}, raw.SetDeadline(time.Time{})
}

// reachable looks whether the Service leads to a server that answers.
func (s *service) reachable(ctx context.Context) error {
	if s.doubtful.Load() {
		conn, err := s.dial(ctx)
		if err == nil {
			conn.Close()
		}
		return err
	}
	conn, err := s.connect(ctx)
	if err == nil {
		conn.Close()
	}
	return err
}

// watch calls seen after every look at the Service, until ctx ends. err says why it was not reached.
func (s *service) watch(ctx context.Context, every time.Duration, seen func(Sight, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	err := s.reachable(ctx)
	since := time.Now()
	for {
		seen(Sight{Reached: err == nil, For: time.Since(since)}, err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.reachable(ctx)
		if (now == nil) != (err == nil) {
			since = time.Now()
		}
		err = now
	}
}
