package pg

import (
	"context"
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Position is what tells whether a standby has come to the end of its own WAL.
type Position struct {
	InRecovery bool
	// Upstream is false when the server was told to stream from nobody and this session already sees that; Receivers counts those that run.
	Upstream  bool
	Receivers int
	// Waiting: the startup process has looked for more WAL on the disk, found none and pauses before it looks again.
	Waiting bool
	// Conflict: the startup process waits for readers whose snapshots or locks WAL would take away from under them.
	Conflict bool
	Paused   bool
	Received *lsn.LSN // by this life of the server
	Replayed *lsn.LSN
	// SegmentSize of WAL files, in bytes.
	SegmentSize int64
}

const queryPosition = `
SELECT pg_catalog.pg_is_in_recovery() AS in_recovery,
       pg_catalog.current_setting('primary_conninfo') <> '' AS upstream,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_wal_receiver) AS receivers,
       COALESCE((SELECT a.wait_event = 'RecoveryRetrieveRetryInterval' FROM pg_catalog.pg_stat_activity a
                  WHERE a.backend_type = 'startup' LIMIT 1), false) AS waiting,
       COALESCE((SELECT a.wait_event LIKE 'RecoveryConflict%' OR a.wait_event_type IN ('Lock', 'BufferPin') FROM pg_catalog.pg_stat_activity a
                  WHERE a.backend_type = 'startup' LIMIT 1), false) AS conflict,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END AS paused,
       pg_catalog.pg_last_wal_receive_lsn()::pg_catalog.text AS received,
       pg_catalog.pg_last_wal_replay_lsn()::pg_catalog.text AS replayed,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS segment_size`

// Position asks a standby how it stands to the end of its WAL.
func (o *Observer) Position(ctx context.Context) (Position, error) {
	p, err := one[Position](ctx, o, queryPosition)
	if err != nil {
		return Position{}, fmt.Errorf("ask the server for its position: %w", err)
	}
	return p, nil
}

// Whom the startup process waits for cannot be asked: its waits are in no lock table. An idle transaction cannot be cancelled, only ended. Workers
// and walsenders can hold snapshots and locks as clients do; no other process of the server has transactions.
const (
	cancelReaders = `
SELECT pg_catalog.pg_cancel_backend(a.pid) AS told FROM pg_catalog.pg_stat_activity a
 WHERE a.backend_type <> 'startup' AND a.pid <> pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL`
	endReaders = `
SELECT pg_catalog.pg_terminate_backend(a.pid) AS told FROM pg_catalog.pg_stat_activity a
 WHERE a.backend_type <> 'startup' AND a.pid <> pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL`
)

// EndReaders cancels what clients are doing in transactions, or ends their sessions, and returns how many were told. PostgreSQL does that itself
// after max_standby_streaming_delay, but it reads that setting at the beginning of a wait and never again, so it is of no use to a wait that has begun.
func (o *Observer) EndReaders(ctx context.Context, sessions bool) (int, error) {
	query := cancelReaders
	if sessions {
		query = endReaders
	}
	told, err := many[struct{ Told bool }](ctx, o, query)
	if err != nil {
		return 0, fmt.Errorf("end readers: %w", err)
	}
	return len(told), nil
}

// Checkpoint makes the server write one, so that a shutdown right after it is short. It may take as long as the disk takes.
func (o *Observer) Checkpoint(ctx context.Context) error {
	conn, err := o.session(ctx)
	if err != nil {
		return err
	}
	// A session's statement_timeout is for questions.
	if err := conn.run(ctx, "SET statement_timeout = 0; CHECKPOINT; RESET statement_timeout"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
