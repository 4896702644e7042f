// Package pg asks and tells a PostgreSQL server what keeper needs, in SQL, over the server's Unix socket. It is the only package that
// knows the driver. Every name in a query is qualified, search_path is pinned, identifiers are quoted, and no password
// ever reaches the server: only verifiers do (T-49).
package pg

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Where says how to reach the server of this pod.
type Where struct {
	SocketDir string
	Port      int
}

// connect opens a session as postgres in a database.
func (w Where) connect(ctx context.Context, database string, params map[string]string) (*session, error) {
	cfg, err := pgconn.ParseConfig("host=/ user=postgres sslmode=disable connect_timeout=2")
	if err != nil {
		return nil, fmt.Errorf("configure the connection: %w", err)
	}
	cfg.Host, cfg.Port, cfg.Database, cfg.User = w.SocketDir, uint16(w.Port), database, "postgres"
	cfg.Fallbacks = nil
	cfg.RuntimeParams = map[string]string{
		"application_name": "pgspan-keeper",
		"search_path":      "pg_catalog",
		"lock_timeout":     "5s",
		"datestyle":        "ISO",
		"timezone":         "UTC",
	}
	for name, value := range params {
		cfg.RuntimeParams[name] = value
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to database %s: %w", database, err)
	}
	return &session{conn, map[string]string{}}, nil
}

// closeTimeout bounds a polite goodbye to a server that may hang.
const closeTimeout = time.Second

func closeConn(conn *session) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the session is given up either way
}
