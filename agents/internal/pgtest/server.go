package pgtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startLimit bounds every wait for a server to come up or go down. It is long because test machines are small and busy.
const startLimit = 60 * time.Second

// Server is one PostgreSQL server: a data directory, an address of its own, and, while it runs, a process.
type Server struct {
	*Root
	// Volume is the inside path of the directory that a pod would mount; PGDATA is <Volume>/pgdata.
	Volume string
	// SocketDir is the inside path of the Unix socket's directory.
	SocketDir string
	// Host is a loopback address that no other server has, so that Port can be the same as in a pod.
	Host string
	Port int
	// CA is the PEM certificate that a client verifies the server with, when WithTLS was given.
	CA []byte

	settings   map[string]string
	hba        []string
	fresh      bool
	initdbArgs []string
	tls        bool
	proc       *Process
}

// New makes a data directory for a major version. The server does not run yet: see Start.
func New(t testing.TB, major int, opts ...Option) *Server {
	t.Helper()
	s := newServer(t, OpenRoot(t, major), opts)
	if s.fresh {
		if err := s.initdb(s.PGDATA(), s.initdbArgs); err != nil {
			t.Fatalf("PostgreSQL %d: %v", major, err)
		}
	} else {
		template, err := s.template()
		if err != nil {
			t.Fatalf("PostgreSQL %d: %v", major, err)
		}
		if err := s.copyTree(t.Context(), template, s.PGDATA()); err != nil {
			t.Fatalf("PostgreSQL %d: %v", major, err)
		}
	}
	s.WriteHBA(t, s.hba...)
	return s
}

// newServer fills in everything but the data directory.
func newServer(t testing.TB, root *Root, opts []Option) *Server {
	t.Helper()
	s := &Server{
		Root: root,
		settings: map[string]string{
			// Nothing here must survive a power cut.
			"fsync": "off",
			// Room for many servers at once on a small machine.
			"shared_buffers":  "16MB",
			"max_connections": "40",
		},
		hba: []string{
			"local all all trust",
			"local replication all trust",
			"host all all 127.0.0.0/8 scram-sha-256",
			"host replication all 127.0.0.0/8 scram-sha-256",
		},
	}
	for _, opt := range opts {
		opt(s)
	}
	if s.Volume == "" {
		s.Volume = root.TempDir(t)
	}
	s.SocketDir = root.TempDir(t)
	s.Host, s.Port = freeAddress(t)
	if s.tls {
		s.placeKeys(t)
	}
	return s
}

// PGDATA is the inside path of the data directory.
func (s *Server) PGDATA() string { return s.Volume + "/pgdata" }

// WriteHBA replaces pg_hba.conf. A running server must be told to reload.
func (s *Server) WriteHBA(t testing.TB, lines ...string) {
	t.Helper()
	s.WriteFile(t, s.PGDATA()+"/pg_hba.conf", []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// Set changes a parameter for the next start.
func (s *Server) Set(name, value string) { s.settings[name] = value }

// Args are the arguments that Start gives to postgres, for tests that start the server by a program of ours.
func (s *Server) Args() []string {
	settings := map[string]string{
		"listen_addresses":        s.Host,
		"port":                    strconv.Itoa(s.Port),
		"unix_socket_directories": s.SocketDir,
	}
	for name, value := range s.settings {
		settings[name] = value
	}
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	sort.Strings(names)
	args := []string{"-D", s.PGDATA()}
	for _, name := range names {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// Start starts the server and waits until it accepts connections. It is killed at the end of the test.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.Launch(t)
	s.WaitReady(t)
}

// Launch starts the server and does not wait, for tests of servers that do not come up.
func (s *Server) Launch(t testing.TB) *Process {
	t.Helper()
	if s.Running() {
		t.Fatalf("start %s: it runs already", s.PGDATA())
	}
	s.proc = s.Root.Start(t, Command{Path: s.BinDir() + "/postgres", Args: s.Args()})
	return s.proc
}

// Running says whether the server's process is there. A server that was started by a program of ours is not counted.
func (s *Server) Running() bool {
	if s.proc == nil {
		return false
	}
	select {
	case <-s.proc.Done():
		return false
	default:
		return true
	}
}

// WaitReady waits until the server accepts connections. It fails the test when the process ends before.
func (s *Server) WaitReady(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(startLimit)
	for {
		_, err := s.TrySQL("postgres", "SELECT 1")
		if err == nil {
			return
		}
		if s.proc != nil && !s.Running() {
			t.Fatalf("PostgreSQL %d did not start: exit status %d\n%s", s.Major, s.proc.code, s.Log())
		}
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL %d is not ready after %v: %v\n%s", s.Major, startLimit, err, s.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Stop shuts the server down in fast mode and waits for its end.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if !s.Running() {
		t.Fatalf("stop %s: it does not run", s.PGDATA())
	}
	s.proc.Signal(t, syscall.SIGINT)
	if code := s.proc.Wait(t, startLimit); code != 0 {
		t.Fatalf("PostgreSQL %d: exit status %d after a fast shutdown\n%s", s.Major, code, s.Log())
	}
}

// Kill ends the server and all its backends with SIGKILL, as a node's death would.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if !s.Running() {
		t.Fatalf("kill %s: it does not run", s.PGDATA())
	}
	s.proc.Kill()
}

// Process is the server's process of the last start; nil before the first.
func (s *Server) Process() *Process { return s.proc }

// Log is what the server has logged since its last start.
func (s *Server) Log() string {
	if s.proc == nil {
		return ""
	}
	return s.proc.Stderr()
}

// URL is a connection string over TCP for the superuser.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword("postgres", Password),
		Host:   net.JoinHostPort(s.Host, strconv.Itoa(s.Port)),
		Path:   "/" + database,
	}
	return u.String()
}

// SocketURL is a connection string over the Unix socket, with the socket's directory as the test sees it.
func (s *Server) SocketURL(database string) string {
	q := url.Values{"host": {s.Outside(s.SocketDir)}, "port": {strconv.Itoa(s.Port)}, "user": {"postgres"}}
	return "postgres:///" + url.PathEscape(database) + "?" + q.Encode()
}

// BaseBackup makes a replica of this server, which must run: pg_basebackup into a new data directory, with
// standby.signal and primary_conninfo in place. The replica does not run yet.
func (s *Server) BaseBackup(t testing.TB, opts ...Option) *Server {
	t.Helper()
	replica := newServer(t, s.Root, opts)
	_, err := s.Run(Command{
		Path: s.BinDir() + "/pg_basebackup",
		Args: []string{"-h", s.SocketDir, "-p", strconv.Itoa(s.Port), "-U", "postgres",
			"-D", replica.PGDATA(), "-R", "-X", "stream", "-c", "fast", "--no-sync"},
	})
	if err != nil {
		t.Fatalf("PostgreSQL %d: make a replica: %v", s.Major, err)
	}
	return replica
}

// CopyTo copies the data directory of a stopped server to an inside path, for tests that break data in several ways.
func (s *Server) CopyTo(t testing.TB, pgdata string) {
	t.Helper()
	if s.Running() {
		t.Fatalf("copy %s: the server runs", s.PGDATA())
	}
	if err := s.copyTree(t.Context(), s.PGDATA(), pgdata); err != nil {
		t.Fatal(err)
	}
}

// Exists says whether a file is there, by its path below PGDATA.
func (s *Server) Exists(name string) bool {
	_, err := os.Lstat(filepath.Join(s.Outside(s.PGDATA()), name))
	return err == nil
}

func (s *Server) String() string {
	return fmt.Sprintf("PostgreSQL %d at %s:%d", s.Major, s.Host, s.Port)
}
