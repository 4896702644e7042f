package pgpool

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

// pooler is the program as a pod runs it: out of pgpool's image, as its first process.
type pooler struct {
	*pgtest.Process
	root  *pgtest.Root
	dir   string // inside path; holds what the chart mounts
	port  int
	uid   int // the image's own when 0
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
	p.Process = p.root.Start(t, pgtest.Command{
		Path: program, Env: env, UID: p.uid, GID: p.uid, Binds: map[string]string{"/etc/resolv.conf": p.dir + "/resolv.conf"},
	})
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

// written is what lies below directories of an image and is newer than a moment: what a process with a read-only root could not make.
func written(t *testing.T, root *pgtest.Root, since time.Time, below ...string) []string {
	t.Helper()
	var files []string
	for _, dir := range below {
		err := filepath.WalkDir(root.Outside(dir), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			// What starts processes in the image keeps its files in the one, and mount(8), which it calls, its own in the other.
			if inside := root.Inside(path); d.Name() == "pgspan-test" || inside == "/run/mount" {
				return filepath.SkipDir
			}
			info, err := d.Info()
			if err == nil && path != root.Outside(dir) && info.ModTime().After(since) {
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
