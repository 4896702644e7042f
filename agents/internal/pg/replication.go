package pg

import (
	"context"
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Sender is one standby or receiver that streams from this server.
type Sender struct {
	Name      string // application_name
	Address   *string
	State     string
	SyncState string
	Sent      *lsn.LSN
	Written   *lsn.LSN
	Flushed   *lsn.LSN
	Replayed  *lsn.LSN
	// ReplaySeconds is how long the last WAL took from being flushed here to being replayed there; nil when nothing was sent lately.
	ReplaySeconds *float64
	Slot          *string
}

const querySenders = `
SELECT r.application_name AS name, pg_catalog.host(r.client_addr) AS address, COALESCE(r.state, '') AS state,
       COALESCE(r.sync_state, '') AS sync_state, r.sent_lsn::pg_catalog.text AS sent, r.write_lsn::pg_catalog.text AS written,
       r.flush_lsn::pg_catalog.text AS flushed, r.replay_lsn::pg_catalog.text AS replayed,
       EXTRACT(epoch FROM r.replay_lag)::pg_catalog.float8 AS replay_seconds,
       s.slot_name::pg_catalog.text AS slot
  FROM pg_catalog.pg_stat_replication r
  LEFT JOIN pg_catalog.pg_replication_slots s ON s.active_pid = r.pid
 ORDER BY r.application_name, r.pid`

// Senders lists who streams from this server.
func (o *Observer) Senders(ctx context.Context) ([]Sender, error) {
	out, err := many[Sender](ctx, o, querySenders)
	if err != nil {
		return nil, fmt.Errorf("ask the server who streams from it: %w", err)
	}
	return out, nil
}

// Slot is a replication slot.
type Slot struct {
	Name      string
	Physical  bool
	Active    bool
	Temporary bool
	WALStatus *string  // reserved, extended, unreserved, lost
	SafeBytes *int64   // what may still be written before the slot is in danger; nil: no limit
	Restart   *lsn.LSN // oldest WAL it holds; nil: none
	Retained  *int64   // bytes of WAL from Restart to the present end
}

const querySlots = `
SELECT s.slot_name::pg_catalog.text AS name, s.slot_type = 'physical' AS physical, s.active, s.temporary,
       s.wal_status, s.safe_wal_size AS safe_bytes, s.restart_lsn::pg_catalog.text AS restart,
       pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                                       ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn)::pg_catalog.int8 AS retained
  FROM pg_catalog.pg_replication_slots s
 ORDER BY s.slot_name`

type slotRow struct {
	Name      string
	Physical  bool
	Active    bool
	Temporary bool
	WalStatus *string
	SafeBytes *int64
	Restart   *lsn.LSN
	Retained  *int64
}

// Slots lists the server's replication slots.
func (o *Observer) Slots(ctx context.Context) ([]Slot, error) {
	rows, err := many[slotRow](ctx, o, querySlots)
	if err != nil {
		return nil, fmt.Errorf("ask the server for its slots: %w", err)
	}
	out := make([]Slot, 0, len(rows))
	for _, r := range rows {
		out = append(out, Slot{Name: r.Name, Physical: r.Physical, Active: r.Active, Temporary: r.Temporary, WALStatus: r.WalStatus,
			SafeBytes: r.SafeBytes, Restart: r.Restart, Retained: r.Retained})
	}
	return out, nil
}

const createSlot = `SELECT pg_catalog.pg_create_physical_replication_slot($1, true)`

// CreateSlot makes a physical slot that holds WAL from now on: one made without reserving cannot be advanced (SAFETY D38).
func (o *Observer) CreateSlot(ctx context.Context, name string) error {
	return o.exec(ctx, "create slot "+name, createSlot, name)
}

// An active slot is refused by the server itself.
const dropSlot = `SELECT pg_catalog.pg_drop_replication_slot($1)`

// DropSlot removes a slot.
func (o *Observer) DropSlot(ctx context.Context, name string) error {
	return o.exec(ctx, "drop slot "+name, dropSlot, name)
}

func (o *Observer) exec(ctx context.Context, what, query string, args ...string) error {
	conn, err := o.session(ctx)
	if err == nil {
		_, err = conn.query(ctx, query, args...)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
