package pg

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Remote is a server of the site as others reach it: over TLS, its name verified, by a client certificate.
type Remote struct {
	// Host is the name that the server must prove; Address is where to reach it, Host when empty.
	Host, Address string
	Port          int
	User          string
	TLS           *tls.Config
}

// remotePatience bounds a statement in the server, for when the client's own end does not reach it.
const remotePatience = 5 * time.Second

// Identity is what a server says of itself.
type Identity struct {
	InRecovery bool
	SystemID   string
	// Server is the address that the session is with.
	Server string
}

const queryIdentity = `SELECT pg_catalog.pg_is_in_recovery() AS in_recovery,
 (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_id,
 pg_catalog.host(pg_catalog.inet_server_addr()) AS server`

// queryWrite is a transaction that must reach the disk to be acknowledged, and leaves nothing behind but some 100 bytes of WAL: no table, no row, nothing
// to vacuum.
const queryWrite = `SELECT pg_catalog.pg_logical_emit_message(true, 'pgspan_probe', '')`

// Identify asks a server who it is, over a connection of its own.
func (r Remote) Identify(ctx context.Context) (Identity, error) { return r.ask(ctx, false) }

// Write makes a write and says which server took it. It waits for that server's disk and not for synchronous replicas: that those are missing is told
// otherwise, and a session that waited for them would stay in the server after its client has gone.
func (r Remote) Write(ctx context.Context) (Identity, error) { return r.ask(ctx, true) }

func (r Remote) ask(ctx context.Context, write bool) (Identity, error) {
	cfg, err := pgconn.ParseConfig("host=/ user=postgres sslmode=disable connect_timeout=2")
	if err != nil {
		return Identity{}, fmt.Errorf("configure the connection: %w", err)
	}
	cfg.Host, cfg.Port, cfg.Database, cfg.User, cfg.TLSConfig = r.Host, uint16(r.Port), "postgres", r.User, r.TLS
	cfg.Fallbacks = nil
	if r.Address != "" {
		cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{r.Address}, nil }
	}
	cfg.DialFunc = (&net.Dialer{KeepAlive: -1}).DialContext
	cfg.RuntimeParams = map[string]string{
		"application_name": "pgspan-probe", "search_path": "pg_catalog", "synchronous_commit": "local",
		"statement_timeout": strconv.FormatInt(remotePatience.Milliseconds(), 10),
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return Identity{}, fmt.Errorf("connect: %w", err)
	}
	s := &session{conn, map[string]string{}}
	defer closeConn(s)
	if write {
		if err := s.run(ctx, queryWrite); err != nil {
			return Identity{}, fmt.Errorf("write: %w", err)
		}
	}
	who, err := row[Identity](ctx, s, queryIdentity)
	if err != nil {
		return Identity{}, fmt.Errorf("ask who it is: %w", err)
	}
	return who, nil
}
