package peers

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConnections and maxPerAddress bound what strangers can take: a connection costs memory before it is known whose it is. A keeper keeps
	// one connection to each other, and several may come from one address where a node translates addresses.
	maxConnections = 128
	maxPerAddress  = 16
	// userTimeout closes connections on which sent bytes stay unacknowledged; the kernel alone would take a quarter of an hour.
	userTimeout = 2 * time.Second
	// complainEvery is how often refused connections are told of at most; whoever tries does so all the time.
	complainEvery = 10 * time.Second
)

// keepAlive finds out about a peer that has silently gone while nothing is sent.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}

// impatient sets userTimeout on a socket before it is used; what is accepted on a listening one inherits it.
func impatient(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return set
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	c := net.ListenConfig{Control: impatient, KeepAliveConfig: keepAlive}
	return c.Listen(ctx, "tcp", address)
}

// bounded is a listener that closes at once what is too much. To leave it waiting instead would let one who opens connections and says nothing
// keep everybody out.
type bounded struct {
	net.Listener
	mu   sync.Mutex
	all  int
	from map[string]int
}

func newBounded(l net.Listener) *bounded { return &bounded{Listener: l, from: map[string]int{}} }

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err == nil && b.take(address) {
			return &counted{Conn: conn, release: func() { b.release(address) }}, nil
		}
		conn.Close()
	}
}

func (b *bounded) take(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= maxConnections || b.from[address] >= maxPerAddress {
		return false
	}
	b.all++
	b.from[address]++
	return true
}

func (b *bounded) release(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.from[address]--; b.from[address] == 0 {
		delete(b.from, address)
	}
}

// counted gives its place back when it is closed, once.
type counted struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.once.Do(c.release)
	return c.Conn.Close()
}

// complaints takes what net/http says about connections.
type complaints struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
	more int // not told since
}

// Write implements io.Writer for a log.Logger.
func (c *complaints) Write(p []byte) (int, error) {
	text := string(bytes.TrimSpace(bytes.TrimPrefix(p, []byte("http: "))))
	switch {
	case bytes.Contains(p, []byte("panic serving")):
		c.log.Error("answer to a peer panicked", "error", text)
		return len(p), nil
	case bytes.HasSuffix(bytes.TrimSpace(p), []byte("EOF")), bytes.Contains(p, []byte("i/o timeout")), bytes.Contains(p, []byte("reset by peer")):
		c.log.Debug("peer went away", "reason", text) // it gave up waiting, or only wanted to know whether the port is open
		return len(p), nil
	}
	c.mu.Lock()
	now := time.Now()
	tell := c.last.IsZero() || now.Sub(c.last) >= complainEvery
	more := c.more
	if tell {
		c.last, c.more = now, 0
	} else {
		c.more++
	}
	c.mu.Unlock()
	if tell {
		c.log.Warn("peer refused", "reason", text, "more_before", more)
	}
	return len(p), nil
}
