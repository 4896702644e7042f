package pgpool

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

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
