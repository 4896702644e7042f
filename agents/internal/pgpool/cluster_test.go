package pgpool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// hard are passwords that a file, a lexer or a careless quote would change. Each is a user's.
var hard = map[string]string{
	"app":        "plain",
	"quotes":     `it's "quoted" ''twice''`,
	"colons":     ":a:TEXTb::",
	"backslash":  `\a\\b\:c\`,
	"spaces":     "  two before, three after   ",
	"unicode":    "grüße ☃ 数据",
	"normalised": "\u2168 soft\u00adhyphen no\u00a0break", // SCRAM's normal form of these is another one
	"emoji":      "\U0001F512 locked",
	"looksmd5":   "md5d41d8cd98f00b204e9800998ecf8427", // a digit short of what PostgreSQL takes for a hash
	"looksaes":   "AESsomething",
	"longest":    strings.Repeat("x", longest),
	`a\b`:        "a name with a backslash",
}

// cluster is a primary and a standby with our certificates.
type cluster struct {
	primary, standby *pgtest.Server
	certs            sitecerts.Bundle
	spec             sitecerts.Spec
	// hosts are addresses for Services that the certificates are good for.
	mu    sync.Mutex
	hosts []string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{}
	third := rand.IntN(256)
	for last := range 80 {
		c.hosts = append(c.hosts, fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), third, 1+last))
	}
	c.spec = sitecerts.Spec{ExtraNames: c.hosts}
	var err error
	if c.certs, err = sitecerts.Generate(c.spec, time.Now()); err != nil {
		t.Fatal(err)
	}
	root := pgtest.OpenRoot(t, 17)
	with := func() []pgtest.Option {
		volume := root.TempDir(t)
		options := []pgtest.Option{pgtest.WithVolume(volume)}
		for name, file := range map[string]string{"ssl_ca_file": "ca.crt", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"} {
			root.WriteFile(t, volume+"/keys/"+file, c.certs[file], 0o600)
			options = append(options, pgtest.WithSetting(name, volume+"/keys/"+file))
		}
		return append(options, pgtest.WithSetting("ssl", "on"), pgtest.WithSetting("fsync", "off"),
			pgtest.WithHBA("local all,replication all trust", "hostssl all all all scram-sha-256"))
	}
	c.primary = pgtest.New(t, 17, with()...)
	c.primary.Start(t)
	sql := "CREATE TABLE jobs (id bigint PRIMARY KEY, note text); GRANT ALL ON jobs TO PUBLIC;"
	for user, password := range hard {
		sql += fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s';", pgx.Identifier{user}.Sanitize(), strings.ReplaceAll(password, "'", "''"))
	}
	c.primary.SQL(t, sql)
	c.standby = c.primary.BaseBackup(t, with()...)
	c.standby.Start(t)
	return c
}

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
	if err := syscall.Bind(fd, address); err != nil {
		t.Fatal(err)
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

// pooler is the program as a pod runs it: out of pgpool's image, as its first process.
type pooler struct {
	*pgtest.Process
	root  *pgtest.Root
	dir   string // inside path; holds what the chart mounts
	port  int
	roots *x509.CertPool
	// rw and ro are the Services it is given.
	rw, ro *vip
}

// children is how many sessions a pooler serves at once here.
const children = 4

// startPooler runs a pooler with Services of its own that lead to the cluster's servers.
func startPooler(t *testing.T, c *cluster, changes ...func(*Config)) *pooler {
	t.Helper()
	root := pgtest.OpenPgpool(t)
	p := &pooler{root: root, dir: root.TempDir(t), port: freePort(t), roots: x509.NewCertPool()}
	p.roots.AppendCertsFromPEM(c.certs["ca.crt"])
	p.rw, p.ro = c.service(t, c.primary), c.service(t, c.standby)
	config := Config{
		Port: p.port, Primary: Backend{p.rw.host, servicePort, 1}, Replicas: &Backend{p.ro.host, servicePort, 2},
		Children: children, PoolPerChild: 2, DisableLoadBalanceOnWrite: "always",
	}
	for _, change := range changes {
		change(&config)
	}
	p.mount(t, "settings/pgpool.yaml", marshal(t, config))
	for file, content := range c.certs.Shared() {
		p.mount(t, "tls/"+file, content)
	}
	for user, password := range hard {
		p.mount(t, "users/"+user+"/password", []byte(password))
	}
	for _, memory := range []string{"conf", "keys", "socket"} {
		p.mount(t, memory+"/.mounted", nil)
	}
	p.launch(t)
	return p
}

// launch starts the program on what is mounted, and waits until it takes connections.
func (p *pooler) launch(t *testing.T) {
	t.Helper()
	program := p.root.Install(t, pgtest.Build(t, "./agents/pooler"))
	env := []string{"PGSPAN_PRIMARY_PATIENCE=1s", "PGSPAN_STOP_TIMEOUT=3s", "PGSPAN_LOG_LEVEL=debug", "TZ=UTC"}
	for _, place := range []string{"settings", "tls", "users", "conf", "keys", "socket"} {
		env = append(env, "PGSPAN_"+strings.ToUpper(place)+"="+p.dir+"/"+place)
	}
	// Names are looked up on this machine only, and not found.
	p.mount(t, "resolv.conf", []byte("nameserver 127.0.0.1\n"))
	p.Process = p.root.Start(t, pgtest.Command{Path: program, Env: env, Binds: map[string]string{"/etc/resolv.conf": p.dir + "/resolv.conf"}})
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("SHOW_POOLER") != "" {
			t.Logf("pooler:\n%s", p.Stderr())
		}
	})
	eventually(t, "pgpool listens", func() error {
		select {
		case <-p.Done():
			t.Fatalf("pooler ended:\n%s", p.Stderr())
		default:
		}
		conn, err := net.Dial("tcp", p.address())
		if err == nil {
			conn.Close()
		}
		return err
	})
}

func (p *pooler) mount(t *testing.T, name string, content []byte) {
	t.Helper()
	p.root.WriteFile(t, p.dir+"/"+name, content, 0o644)
}

// pgpool is the process id of pgpool itself: a restart changes it.
func (p *pooler) pgpool(t *testing.T) int {
	t.Helper()
	for _, child := range p.Children() {
		if child.Name == "pgpool" {
			return child.PID // of all processes below the pooler the first is its own child
		}
	}
	t.Fatalf("no pgpool below the pooler:\n%s", p.Stderr())
	return 0
}

func (p *pooler) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// open begins a session as a client would: with TLS, verifying the certificate.
func (p *pooler) open(user, password string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("postgres://127.0.0.1/postgres")
	if err != nil {
		return nil, err
	}
	config.Port, config.User, config.Password = uint16(p.port), user, password
	config.TLSConfig = &tls.Config{RootCAs: p.roots, ServerName: "127.0.0.1"}
	config.Fallbacks = nil
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return pgx.ConnectConfig(ctx, config)
}

// connect is open for sessions that must come about.
func (p *pooler) connect(t *testing.T, user string) *pgx.Conn {
	t.Helper()
	conn, err := p.open(user, hard[user])
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	t.Cleanup(func() { closeConn(conn) })
	return conn
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the other end may have gone
}

// ask runs a query that gives one text.
func ask(conn *pgx.Conn, query string, args ...any) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var answer string
	err := conn.QueryRow(ctx, query, args...).Scan(&answer)
	return answer, err
}

func mustAsk(t *testing.T, conn *pgx.Conn, query string, args ...any) string {
	t.Helper()
	answer, err := ask(conn, query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

func execute(conn *pgx.Conn, statement string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := conn.Exec(ctx, statement, args...)
	return err
}

func mustExecute(t *testing.T, conn *pgx.Conn, statement string, args ...any) {
	t.Helper()
	if err := execute(conn, statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// where tells which server answers reads. Its functions are stable, so pgpool takes it for a read.
const where = "SELECT host(inet_server_addr())"

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	const limit = 20 * time.Second
	start := time.Now()
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Since(start) > limit {
			t.Fatalf("not within %s: %s: %v", limit, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// written are the files below a directory of an image that are newer than a moment: what a process with a read-only root could not make.
func written(t *testing.T, root *pgtest.Root, since time.Time, below ...string) []string {
	t.Helper()
	var files []string
	for _, dir := range below {
		err := filepath.WalkDir(root.Outside(dir), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Name() == "pgspan-test" {
				return filepath.SkipDir
			}
			info, err := d.Info()
			if err == nil && !d.IsDir() && info.ModTime().After(since) {
				files = append(files, root.Inside(path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
