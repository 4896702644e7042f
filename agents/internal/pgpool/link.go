package pgpool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// sessionLimit bounds how long a session waits for a server in all.
	sessionLimit = 5 * time.Second
	// attemptPause lies between two attempts.
	attemptPause = 200 * time.Millisecond
)

// Link is the way from one of pgpool's backends to the server: a Unix socket that pgpool takes for the backend, and for each connection
// on it one to a Service. pgpool's own way would be the wrong one in four respects (seen in 4.6 and 4.7): it goes on without TLS when
// the server says that it has none, it verifies no names, it tries to reach an address that does not answer until the kernel gives up
// (two minutes, whatever connect_timeout says), and it does not notice a server that has gone without a word for a quarter of an hour.
type Link struct {
	of     Role
	socket string
	to     map[Role]*service
	log    *slog.Logger

	mu       sync.Mutex
	route    Route
	listener net.Listener
	conns    map[net.Conn]Role // pgpool's ends, by where they lead
	closed   bool
}

// newLink makes a link. It is closed until it is directed.
func newLink(of Role, socket string, to map[Role]*service, log *slog.Logger) *Link {
	return &Link{of: of, socket: socket, to: to, log: log, route: Route{To: of}, conns: map[net.Conn]Role{}}
}

// direct makes the link follow a route. Connections that lead where the backend for the primary no longer leads are ended: their
// sessions would go on with the wrong server, or wait for one that has gone.
func (l *Link) direct(ctx context.Context, r Route) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == Primary && r.To != l.route.To {
		for conn, to := range l.conns {
			if to != r.To {
				conn.Close()
			}
		}
	}
	l.route = r
	switch {
	case r.Open && l.listener == nil && !l.closed:
		return l.listen(ctx)
	case !r.Open && l.listener != nil:
		l.listener.Close() // removes the socket, so that pgpool is refused at once
		l.listener = nil
	}
	return nil
}

func (l *Link) listen(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(l.socket), 0o700); err != nil {
		return fmt.Errorf("make the socket for the %s: %w", l.of, err)
	}
	// Left by a pooler that was killed: the directory outlives the container.
	if err := os.Remove(l.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make the socket for the %s: %w", l.of, err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", l.socket)
	if err != nil {
		return fmt.Errorf("make the socket for the %s: %w", l.of, err)
	}
	l.listener = listener
	go l.accept(ctx, listener)
	return nil
}

func (l *Link) accept(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files: others will be closed
			l.log.Error("cannot take a connection from pgpool", "backend", l.of, "error", err)
			time.Sleep(attemptPause)
			continue
		}
		go l.carry(ctx, conn)
	}
}

// shut ends the link and everything on it.
func (l *Link) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.listener != nil {
		l.listener.Close()
		l.listener = nil
	}
	for conn := range l.conns {
		conn.Close()
	}
}

// carry takes one connection of pgpool's to a server and moves bytes until either end closes.
func (l *Link) carry(ctx context.Context, pool net.Conn) {
	defer pool.Close()
	// pgpool writes first: a request for TLS, or a request to cancel a query.
	first := make([]byte, 8)
	if err := pool.SetReadDeadline(time.Now().Add(sessionLimit)); err != nil {
		return
	}
	if _, err := io.ReadFull(pool, first); err != nil {
		return
	}
	if err := pool.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	server, to, err := l.reach(ctx)
	if err != nil {
		l.log.Warn("no server for a session", "backend", l.of, "error", err)
		return
	}
	defer server.Close()
	if !l.enter(pool, to) {
		return
	}
	defer l.leave(pool)
	if binary.BigEndian.Uint32(first[4:]) == sslRequest {
		_, err = pool.Write([]byte{'N'}) // the socket is in this container; the way on from here is TLS
	} else {
		_, err = server.Write(first)
	}
	if err != nil {
		return
	}
	move(pool, server)
}

// reach finds a server, in several attempts, each following the route as it then is.
func (l *Link) reach(ctx context.Context) (*upstream, Role, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionLimit)
	defer cancel()
	for attempt := 0; ; attempt++ {
		l.mu.Lock()
		to := destination(l.of, l.route.To, attempt)
		l.mu.Unlock()
		conn, err := l.to[to].dial(ctx)
		if err == nil {
			return conn, to, nil
		}
		l.log.Debug("server not reached", "backend", l.of, "service", to, "attempt", attempt, "error", err)
		select {
		case <-ctx.Done():
			return nil, to, fmt.Errorf("reach the %s: %w", to, err)
		case <-time.After(attemptPause):
		}
	}
}

// enter notes where a connection leads, unless the route has changed while it was opened.
func (l *Link) enter(pool net.Conn, to Role) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.of == Primary && to != l.route.To {
		return false
	}
	l.conns[pool] = to
	return true
}

func (l *Link) leave(pool net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, pool)
}

// move copies both ways until one side ends, and then ends the other: neither pgpool nor PostgreSQL goes on with half a connection.
func move(pool net.Conn, server *upstream) {
	ended := make(chan struct{}, 2)
	// An error is an end like another: whoever waits for an answer finds the connection closed.
	go func() {
		_ = results(pool, server)
		ended <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(server, pool)
		ended <- struct{}{}
	}()
	<-ended
	pool.Close()
	server.Close()
	<-ended
}

// results copies what a server sends. It comes in records of 8 KiB; what has been received of the next ones is passed on with the first,
// since each write wakes pgpool.
func results(pool net.Conn, server *upstream) error {
	buffer := make([]byte, piece)
	for {
		n, err := server.Read(buffer)
		for err == nil && n < len(buffer) && server.in.Buffered() > 0 {
			var more int
			more, err = server.Read(buffer[n:])
			n += more
		}
		if _, writeErr := pool.Write(buffer[:n]); writeErr != nil {
			return writeErr
		}
		if err != nil {
			return err
		}
	}
}
