package pgpool

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"

	"github.com/jackc/pgx/v5"
)

func testPasswordRotates(t *testing.T, c *cluster) {
	c.primary.SQL(t, "CREATE ROLE rotated LOGIN PASSWORD 'old'")
	defer c.primary.SQL(t, "DROP ROLE rotated")
	p := startPooler(t, c)
	p.mount(t, "users/rotated/password", []byte("old"))
	var held *pgx.Conn
	eventually(t, "a new user can log in", func() (err error) {
		held, err = p.open("rotated", "old")
		return err
	})
	defer closeConn(held)
	pgpool := p.pgpool(t)

	c.primary.SQL(t, "ALTER ROLE rotated PASSWORD 'new'")
	c.standby.WaitSQL(t, "SELECT pg_last_wal_replay_lsn() >= '"+c.primary.SQL(t, "SELECT pg_current_wal_lsn()")+"'", "t")
	p.mount(t, "users/rotated/password", []byte("new"))
	eventually(t, "the new password is served", func() error {
		conn, err := p.open("rotated", "new")
		if err == nil {
			closeConn(conn)
		}
		return err
	})
	mustAsk(t, held, where) // the session of before goes on

	// So many sessions at once take all children, the one among them that was in a session at the change.
	closeConn(held)
	time.Sleep(5 * nudgeEvery) // it is told within one of these, which nothing outside can see
	for i := range children {
		conn, err := p.open("rotated", "new")
		if err != nil {
			t.Fatalf("child %d: %v", i, err)
		}
		defer closeConn(conn)
	}
	if got := p.pgpool(t); got != pgpool {
		t.Errorf("pgpool was restarted: process %d, before %d", got, pgpool)
	}
}

func testOldPasswordIsRefused(t *testing.T, c *cluster) {
	p := startPooler(t, c)
	p.mount(t, "users/app/password", []byte("rotated"))
	eventually(t, "the old password is refused", func() error {
		conn, err := p.open("app", hard["app"])
		if err == nil {
			closeConn(conn)
			return errors.New("logged in")
		}
		return nil
	})
}

func testBrokenSecrets(t *testing.T, c *cluster) {
	p := startPooler(t, c)
	p.mount(t, "users/app/password", nil)
	p.mount(t, "tls/server.key", c.certs["keeper.key"])
	eventually(t, "both are reported", func() error {
		for _, want := range []string{"user app: the password is empty", "new keys are not used"} {
			if !strings.Contains(p.Stderr(), want) {
				return fmt.Errorf("the log lacks %q", want)
			}
		}
		return nil
	})
	if _, _, err := attempt(p); err != nil {
		t.Errorf("the password of before: %v", err)
	}
	reported := strings.Count(p.Stderr(), "new keys are not used")
	p.mount(t, "tls/server.key", c.certs["server.key"])
	p.mount(t, "users/app/password", []byte(hard["app"]))
	eventually(t, "the end of both is reported", func() error {
		if n := strings.Count(p.Stderr(), "problem solved"); n != 2 {
			return fmt.Errorf("%d problems solved, want 2", n)
		}
		return nil
	})
	if reported != 1 {
		t.Errorf("the same problem was reported %d times", reported)
	}
}

func testCertificateRotates(t *testing.T, c *cluster) {
	p := startPooler(t, c)
	pgpool := p.pgpool(t)
	busy := p.connect(t, "app")
	mustExecute(t, busy, "BEGIN")
	mustExecute(t, busy, "INSERT INTO jobs VALUES (8, 'during a rotation')")

	authority, err := c.certs.Authority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := sitecerts.Issue(authority, c.spec, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	before := serial(t, p)
	for file, content := range rotated.Shared() {
		p.mount(t, "tls/"+file, content)
	}
	eventually(t, "the new certificate is placed", func() error {
		if !bytes.Equal(p.root.ReadFile(t, p.dir+"/keys/server.crt"), rotated["server.crt"]) {
			return errors.New("the old one is there")
		}
		return nil
	})
	// The transaction has 3 s (PGSPAN_STOP_TIMEOUT) from here.
	mustExecute(t, busy, "COMMIT")
	eventually(t, "the new certificate is served", func() error {
		if now := serial(t, p); now.Cmp(before) == 0 {
			return fmt.Errorf("serial number %s", now)
		}
		return nil
	})
	if got := c.primary.SQL(t, "SELECT count(*) FROM jobs WHERE id = 8"); got != "1" {
		t.Errorf("%s rows of the transaction, want 1", got)
	}
	eventually(t, "sessions are served", func() error { _, _, err := attempt(p); return err })
	if p.pgpool(t) == pgpool {
		t.Error("pgpool was not restarted: if it reads certificates again by itself now, it need not be")
	}
}

// serial is the number of the certificate that clients are shown; 0 while there is none.
func serial(t *testing.T, p *pooler) *big.Int {
	t.Helper()
	conn, err := net.Dial("tcp", p.address())
	if err != nil {
		return big.NewInt(0)
	}
	defer conn.Close()
	ask := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), sslRequest)
	if _, err := conn.Write(ask); err != nil {
		return big.NewInt(0)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return big.NewInt(0)
	}
	var shown *x509.Certificate
	client := tls.Client(conn, &tls.Config{RootCAs: p.roots, ServerName: "127.0.0.1"})
	if err := client.Handshake(); err != nil {
		return big.NewInt(0)
	}
	shown = client.ConnectionState().PeerCertificates[0]
	return shown.SerialNumber
}

// orphan has the pooler inherit a process whose parent is gone, and ends it.
func orphan(t *testing.T, p *pooler) {
	t.Helper()
	out, err := exec.Command("nsenter", "--target", strconv.Itoa(p.PID), "--pid", "sh", "-c", "(sleep 1000 >/dev/null 2>&1 &)").CombinedOutput()
	if err != nil {
		t.Fatalf("start an orphan: %v: %s", err, out)
	}
	eventually(t, "the pooler inherits the orphan", func() error {
		for _, child := range p.Children() {
			if child.Name == "sleep" {
				return syscall.Kill(child.PID, syscall.SIGKILL)
			}
		}
		return errors.New("it has not yet")
	})
}

// noZombies tells whether a process has dead children that it has not collected.
func noZombies(parent int) error {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[0] == "Z" && fields[1] == strconv.Itoa(parent) {
			return fmt.Errorf("%s is a zombie", filepath.Dir(path))
		}
	}
	return nil
}
