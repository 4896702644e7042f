package pg

import (
	"context"
	"fmt"
)

// Figures are what costs more to ask and changes slowly.
type Figures struct {
	// PendingRestart names settings that were changed and wait for a restart.
	PendingRestart []string
	// Unusable are lines of the configuration that the server cannot take, as it says itself, without their values. It goes on without them, and
	// would not start again.
	Unusable       []string
	WALBytes       int64 // size of pg_wal
	WALFiles       int64
	Connections    int64
	MaxConnections int64
}

const queryFigures = `
SELECT pg_catalog.array_to_json(ARRAY(SELECT s.name FROM pg_catalog.pg_settings s WHERE s.pending_restart ORDER BY s.name)) AS pending_restart,
       pg_catalog.array_to_json(ARRAY(SELECT COALESCE(f.name || ': ', '') || f.error FROM pg_catalog.pg_file_settings f
         WHERE f.error IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE s.name = pg_catalog.lower(f.name) AND s.pending_restart)
         ORDER BY f.seqno)) AS unusable,
       w.bytes AS wal_bytes, w.files AS wal_files,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = 'client backend') AS connections,
       pg_catalog.current_setting('max_connections')::pg_catalog.int8 AS max_connections
  FROM (SELECT COALESCE(pg_catalog.sum(d.size), 0)::pg_catalog.int8 AS bytes, pg_catalog.count(*) AS files
          FROM pg_catalog.pg_ls_waldir() d) w`

type figuresRow struct {
	PendingRestart []string
	Unusable       []string
	WalBytes       int64
	WalFiles       int64
	Connections    int64
	MaxConnections int64
}

// Figures asks for them.
func (o *Observer) Figures(ctx context.Context) (Figures, error) {
	r, err := one[figuresRow](ctx, o, queryFigures)
	if err != nil {
		return Figures{}, fmt.Errorf("ask the server for its figures: %w", err)
	}
	return Figures{PendingRestart: r.PendingRestart, Unusable: r.Unusable, WALBytes: r.WalBytes, WALFiles: r.WalFiles, Connections: r.Connections, MaxConnections: r.MaxConnections}, nil
}
