package pgpool

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// vip stands for a Service: an address that leads to servers which change.
type vip struct {
	host string
	mu   sync.Mutex
	stop func()
}

// service makes a Service that leads to a server.
func (c *cluster) service(t *testing.T, to *pgtest.Server) *vip {
	t.Helper()
	c.mu.Lock()
	v := &vip{host: c.hosts[0], stop: func() {}}
	c.hosts = c.hosts[1:]
	c.mu.Unlock()
	t.Cleanup(func() { v.stop() })
	v.lead(t, to)
	return v
}

const servicePort = 5432

func (v *vip) address() string { return net.JoinHostPort(v.host, strconv.Itoa(servicePort)) }

// lead makes the Service lead to these servers, one after the other. Without any it refuses connections, as kube-proxy does. Connections
// that are open stay with their servers.
func (v *vip) lead(t *testing.T, servers ...*pgtest.Server) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stop()
	v.stop = func() {}
	if len(servers) == 0 {
		return
	}
	listener, err := net.Listen("tcp", v.address())
	if err != nil {
		t.Fatal(err)
	}
	v.stop = func() { listener.Close() }
	go func() {
		for next := 0; ; next++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(conn, servers[next%len(servers)])
		}
	}()
}

func forward(conn net.Conn, s *pgtest.Server) {
	defer conn.Close()
	server, err := net.Dial("tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, conn)
		server.Close()
	}()
	_, _ = io.Copy(conn, server)
}

// swallow makes the Service lead nowhere without a word, as a dead node's address does: the backlog is full, so the kernel drops what
// asks for a connection.
func (v *vip) swallow(t *testing.T) {
	t.Helper()
	v.lead(t)
	v.mu.Lock()
	defer v.mu.Unlock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	address := &syscall.SockaddrInet4{Port: servicePort, Addr: [4]byte(net.ParseIP(v.host).To4())}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	// The listener that was closed is gone when its Accept has returned, a moment later.
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		if err = syscall.Bind(fd, address); err == nil {
			break
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	for len(held) < 10 {
		conn, err := net.DialTimeout("tcp", v.address(), 200*time.Millisecond)
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	v.stop = func() {
		for _, conn := range held {
			conn.Close()
		}
		syscall.Close(fd)
	}
}

// hang makes the Service lead to a server that says nothing, as one that is stopped or starved does: its kernel takes connections.
func (v *vip) hang(t *testing.T) {
	t.Helper()
	v.lead(t)
	v.mu.Lock()
	defer v.mu.Unlock()
	listener, err := net.Listen("tcp", v.address())
	if err != nil {
		t.Fatal(err)
	}
	v.stop = func() { listener.Close() }
}
