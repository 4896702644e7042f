package pg

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Straggler is a walsender that has not brought its receiver to a position. A fast shutdown waits for each of them (SAFETY D33).
type Straggler struct {
	PID   int32
	Name  string // application_name
	State string
}

// A walsender that sends a base backup is not among them: the shutdown itself ends it.
const queryStragglers = `
SELECT r.pid, r.application_name AS name, COALESCE(r.state, '') AS state
  FROM pg_catalog.pg_stat_replication r
 WHERE COALESCE(r.state, '') <> 'backup'
   AND (r.state IS DISTINCT FROM 'streaming' OR COALESCE(r.flush_lsn < $1::pg_catalog.pg_lsn, true))
 ORDER BY r.pid`

// Stragglers lists the walsenders, logical ones too, whose receivers do not stream or have not confirmed at.
func (o *Observer) Stragglers(ctx context.Context, at lsn.LSN) ([]Straggler, error) {
	out, err := many[Straggler](ctx, o, queryStragglers, at.String())
	if err != nil {
		return nil, fmt.Errorf("ask the server who lags behind %s: %w", at, err)
	}
	return out, nil
}

const terminate = `SELECT pg_catalog.pg_terminate_backend($1)`

// Terminate ends a walsender. Its receiver connects again when it lives.
func (o *Observer) Terminate(ctx context.Context, pid int32) error {
	return o.exec(ctx, fmt.Sprintf("terminate walsender %d", pid), terminate, strconv.Itoa(int(pid)))
}

const queryEnd = `SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text AS at`

// End is how far a primary has written.
func (o *Observer) End(ctx context.Context) (lsn.LSN, error) {
	out, err := one[struct{ At lsn.LSN }](ctx, o, queryEnd)
	if err != nil {
		return 0, fmt.Errorf("ask the server for the end of its WAL: %w", err)
	}
	return out.At, nil
}
