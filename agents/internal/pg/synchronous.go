package pg

import (
	"context"
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Acks is what a server that leads says about acknowledging commits.
type Acks struct {
	// Names is synchronous_standby_names as a new command of this session sees it.
	Names string
	// Flushed is the end of WAL on disk: everything that was acknowledged before is below.
	Flushed lsn.LSN
	// Idle: the checkpointer sleeps, so it has read what it was told to read before. By its word all sessions know whether to wait at all.
	Idle bool
	// Standbys are those that stream from this server, clones and others too.
	Standbys []Standby
}

// Standby is one connection that receives WAL.
type Standby struct {
	Name string // application_name
	// OwnSlot: it holds the slot of its own name, which one process can hold at a time.
	OwnSlot bool
	// Streams: it has caught up once and now gets WAL as it is written.
	Streams bool
	Flushed *lsn.LSN // what it has on disk
	// Counts: the process that serves it has found it in the list when it last read its configuration.
	Counts bool
}

// A sender works out its standby's priority when it reads its configuration, so the priority shows which list it goes by. It is shown only
// once the standby has said where it is.
const queryStandbys = `
SELECT r.application_name AS name, COALESCE(s.slot_name = r.application_name AND s.slot_type = 'physical', false) AS own_slot,
       COALESCE(r.state = 'streaming', false) AS streams, r.flush_lsn::pg_catalog.text AS flushed, COALESCE(r.sync_priority > 0, false) AS counts
  FROM pg_catalog.pg_stat_replication r
  LEFT JOIN pg_catalog.pg_replication_slots s ON s.active_pid = r.pid
 ORDER BY r.application_name, r.pid`

const queryAcks = `
SELECT pg_catalog.current_setting('synchronous_standby_names') AS names,
       pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text AS flushed,
       COALESCE((SELECT a.wait_event IN ('CheckpointerMain', 'CheckpointWriteDelay') FROM pg_catalog.pg_stat_activity a
                  WHERE a.backend_type = 'checkpointer' LIMIT 1), false) AS idle`

type acksRow struct {
	Names   string
	Flushed lsn.LSN
	Idle    bool
}

// Acks asks whom commits wait for and who could acknowledge them. Only a server that is not in recovery can say.
func (o *Observer) Acks(ctx context.Context) (Acks, error) {
	// The standbys first: what they have on disk is then no news compared with Flushed.
	standbys, err := many[Standby](ctx, o, queryStandbys)
	if err != nil {
		return Acks{}, fmt.Errorf("ask the server for its standbys: %w", err)
	}
	a, err := one[acksRow](ctx, o, queryAcks)
	if err != nil {
		return Acks{}, fmt.Errorf("ask the server whom commits wait for: %w", err)
	}
	return Acks{Names: a.Names, Flushed: a.Flushed, Idle: a.Idle, Standbys: standbys}, nil
}
