package peers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// keepFor is how long a connection is kept without use.
const keepFor = time.Minute

// link is the one connection to a member, for one exchange at a time. It is HTTP/1.1 on a connection of our own and not net/http's client,
// which sends a request again by itself, and tries a connection that has fallen silent once more: an answer here is worth only as much as is
// known about when and by whom it was given.
type link struct {
	turn chan struct{} // holds one token; whoever has it may use what follows
	conn *connection
	used time.Time
}

// target is whom to reach and how to know it.
type target struct {
	address, host string
	material      *material
}

type request struct {
	method, path string
	body         []byte
	want         int // status
}

// connection is one that has been opened to a target.
type connection struct {
	*tls.Conn
	target
	ends  time.Time // of the peer's certificate
	limit *io.LimitedReader
	in    *bufio.Reader
}

func newLink() *link {
	l := &link{turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// exchange makes one request. The connection is kept after a whole answer of the wanted kind and closed after anything else. One that was kept and
// turns out to have been closed by the other side is replaced once, here and within the same time.
func (l *link) exchange(ctx context.Context, t target, r request) ([]byte, error) {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { l.used = time.Now(); l.turn <- struct{}{} }()
	if l.conn != nil && !l.conn.good(t, time.Now()) {
		l.drop()
	}
	kept := l.conn != nil
	for {
		if l.conn == nil {
			conn, err := dial(ctx, t)
			if err != nil {
				return nil, err
			}
			l.conn = conn
		}
		a, err := l.conn.exchange(ctx, r)
		if err != nil || a.last {
			l.drop()
		}
		if err == nil {
			return a.body, timely(ctx, time.Now())
		}
		if !kept || a.begun || ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		kept = false
	}
}

// timely refuses what lay in the socket while this process was frozen: it would be taken for news.
func timely(ctx context.Context, now time.Time) error {
	if end, limited := ctx.Deadline(); limited && now.After(end) {
		return context.DeadlineExceeded
	}
	return nil
}

func (l *link) drop() {
	if l.conn != nil {
		l.conn.NetConn().Close() // no farewell: it could block
		l.conn = nil
	}
}

// rest closes the connection if it was not used for that long and is not in use now.
func (l *link) rest(unused time.Duration) {
	select {
	case <-l.turn:
	default:
		return
	}
	if time.Since(l.used) >= unused {
		l.drop()
	}
	l.turn <- struct{}{}
}

// good reports whether a kept connection leads where a new one would, known by the certificates of now.
func (c *connection) good(t target, now time.Time) bool {
	return c.target == t && now.Before(c.ends) && c.in.Buffered() == 0
}

func dial(ctx context.Context, t target) (*connection, error) {
	dialer := net.Dialer{Timeout: dialLimit, KeepAliveConfig: keepAlive, Control: impatient}
	raw, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn := tls.Client(raw, t.material.calling(t.host))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &connection{Conn: conn, target: t, limit: &io.LimitedReader{R: conn}}
	for _, cert := range conn.ConnectionState().PeerCertificates {
		if c.ends.IsZero() || cert.NotAfter.Before(c.ends) {
			c.ends = cert.NotAfter
		}
	}
	c.in = bufio.NewReader(c.limit)
	return c, nil
}

// answer is what was heard: begun says that it was anything at all, last that the peer closes the connection behind it.
type answer struct {
	body        []byte
	begun, last bool
}

// exchange writes the request and reads the whole answer.
func (c *connection) exchange(ctx context.Context, r request) (a answer, err error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return a, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err() // the deadline lies in the past now: the connection is of no further use
		}
	}()
	req, err := http.NewRequestWithContext(ctx, r.method, "https://"+c.address+r.path, bytes.NewReader(r.body))
	if err != nil {
		return a, err
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	c.limit.N = recordLimit + bodyLimit // body and head
	if err := req.Write(c.Conn); err != nil {
		return a, fmt.Errorf("write the request: %w", err)
	}
	if _, err := c.in.Peek(1); err != nil {
		return a, fmt.Errorf("wait for the answer: %w", err)
	}
	a.begun = true
	resp, err := http.ReadResponse(c.in, req)
	if err != nil {
		return a, fmt.Errorf("read the answer: %w", err)
	}
	defer resp.Body.Close()
	a.last = resp.Close
	a.body, err = io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return a, fmt.Errorf("read the answer: %w", err)
	case resp.StatusCode == http.StatusNotFound && r.want != http.StatusNotFound:
		return a, fmt.Errorf("the answer is %s: %w", resp.Status, ErrUnknown)
	case resp.StatusCode != r.want:
		return a, fmt.Errorf("the answer is %s", resp.Status)
	}
	return a, nil
}
