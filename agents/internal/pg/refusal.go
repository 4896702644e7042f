package pg

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Upstream says how to reach the server that a standby streams from, and as whom.
type Upstream struct {
	Host, Address   string
	Port            int
	User            string
	CA, Cert, Key   string // files; without CA no TLS is spoken
	ApplicationName string
}

// Refusal asks a server for WAL as a standby that has nothing but the position at on line would, and returns what it says instead of sending any,
// in its own words; empty: it sends. Only its log and the standby's say so otherwise, which nobody reads. An error means that it could not be asked.
func Refusal(ctx context.Context, u Upstream, line uint32, at lsn.LSN, segment int64) (string, error) {
	cfg, err := u.config()
	if err != nil {
		return "", err
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return refused(err)
	}
	defer closeConn(&session{PgConn: conn})
	from := at - at%lsn.LSN(max(segment, 1)) // a standby asks for whole files
	conn.Frontend().SendQuery(&pgproto3.Query{String: fmt.Sprintf("START_REPLICATION PHYSICAL %s TIMELINE %d", from, line)})
	if err := conn.Frontend().Flush(); err != nil {
		return "", fmt.Errorf("ask %s for WAL: %w", u.Host, err)
	}
	for {
		m, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return refused(err)
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			return refused(pgconn.ErrorResponseToPgError(m))
		case *pgproto3.CopyData, *pgproto3.CopyDone:
			return "", nil // it sends, or has nothing to send; on an older timeline it says where that ends
		}
	}
}

func (u Upstream) config() (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig("host=" + u.Host + " port=" + strconv.Itoa(u.Port) + " user=" + u.User + " connect_timeout=5 " + u.tls())
	if err != nil {
		return nil, fmt.Errorf("configure the connection to %s: %w", u.Host, err)
	}
	cfg.Fallbacks = nil
	cfg.RuntimeParams = map[string]string{"replication": "true", "application_name": u.ApplicationName}
	if u.Address != "" {
		cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{u.Address}, nil }
	}
	return cfg, nil
}

func (u Upstream) tls() string {
	if u.CA == "" {
		return "sslmode=disable"
	}
	return "sslmode=verify-full sslrootcert=" + u.CA + " sslcert=" + u.Cert + " sslkey=" + u.Key
}

// refused tells the server's own word from not having been heard. One that starts, ends or is full says nothing about this standby.
func refused(err error) (string, error) {
	var said *pgconn.PgError
	if errors.As(err, &said) && !strings.HasPrefix(said.Code, "57") && !strings.HasPrefix(said.Code, "53") {
		return said.Message, nil
	}
	return "", fmt.Errorf("ask for WAL: %w", err)
}
