package pg

import (
	"context"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Status is what a server says of itself. Pointers are nil where the server does not say.
type Status struct {
	InRecovery bool
	SystemID   string
	// Timeline it writes on, or replays.
	Timeline uint32
	// Current is where a primary writes, Inserted the end of its newest record, Flushed what is on disk, which may end within a record. Received and Replayed are a standby's; Received is what this life of the server has received,
	// and so is absent until a receiver ran.
	Current, Inserted, Flushed, Received, Replayed *lsn.LSN
	// ReplayAge is how long ago the last replayed transaction was committed, by the primary's clock.
	ReplayAge    *float64
	ReplayPaused bool
	SegmentSize  int64 // of WAL files, in bytes
	Started      time.Time
	// Receiver is nil when no receiver runs.
	Receiver *Receiver `db:"-"`
}

// Receiver is a standby's connection to its upstream.
type Receiver struct {
	Status     string
	End        *lsn.LSN // the upstream's end of WAL, as it last said
	MessageAge *float64 // seconds since the upstream was last heard
	Timeout    float64  // seconds of silence after which the server gives the connection up
	Host       string
	Port       int
	Slot       string
	// Address is the IP that it was told to connect to; empty: it was to look Host up.
	Address string
}

// Streaming reports whether the link is up: the receiver streams and has heard its upstream within the server's own limit.
func (r *Receiver) Streaming() bool {
	return r != nil && r.Status == "streaming" && r.MessageAge != nil && (r.Timeout <= 0 || *r.MessageAge <= r.Timeout)
}

// One row answers all, so that no two answers contradict each other. A standby's timeline is that of its receiver, else that of
// the end of recovery, which the control file knows before the next checkpoint does.
const queryStatus = `
SELECT r.in_recovery,
       s.system_identifier::pg_catalog.text AS system_id,
       CASE WHEN r.in_recovery
            THEN COALESCE(w.received_tli, NULLIF(e.min_recovery_end_timeline, 0), c.timeline_id)::pg_catalog.int8
            ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::pg_catalog.bit(32)::pg_catalog.int8
       END AS timeline,
       CASE WHEN NOT r.in_recovery THEN pg_catalog.pg_current_wal_lsn() END::pg_catalog.text AS current,
       CASE WHEN NOT r.in_recovery THEN pg_catalog.pg_current_wal_insert_lsn() END::pg_catalog.text AS inserted,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS segment_size,
       CASE WHEN NOT r.in_recovery THEN pg_catalog.pg_current_wal_flush_lsn() END::pg_catalog.text AS flushed,
       CASE WHEN r.in_recovery THEN pg_catalog.pg_last_wal_receive_lsn() END::pg_catalog.text AS received,
       CASE WHEN r.in_recovery THEN pg_catalog.pg_last_wal_replay_lsn() END::pg_catalog.text AS replayed,
       CASE WHEN r.in_recovery
            THEN EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::pg_catalog.float8
       END AS replay_age,
       CASE WHEN r.in_recovery THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END AS replay_paused,
       pg_catalog.pg_postmaster_start_time() AS started,
       w.status AS receiver_status,
       w.latest_end_lsn::pg_catalog.text AS receiver_end,
       EXTRACT(epoch FROM pg_catalog.clock_timestamp() - w.last_msg_receipt_time)::pg_catalog.float8 AS receiver_message_age,
       (EXTRACT(epoch FROM pg_catalog.current_setting('wal_receiver_timeout')::pg_catalog.interval))::pg_catalog.float8 AS receiver_timeout,
       w.sender_host AS receiver_host, w.sender_port AS receiver_port, w.slot_name::pg_catalog.text AS receiver_slot,
       pg_catalog.substring(w.conninfo, 'hostaddr=([^ ]+)') AS receiver_address
  FROM (SELECT pg_catalog.pg_is_in_recovery() AS in_recovery) r
 CROSS JOIN pg_catalog.pg_control_system() s
 CROSS JOIN pg_catalog.pg_control_checkpoint() c
 CROSS JOIN pg_catalog.pg_control_recovery() e
  LEFT JOIN pg_catalog.pg_stat_wal_receiver w ON true`

// statusRow is queryStatus.
type statusRow struct {
	InRecovery         bool
	SystemID           string
	Timeline           int64
	Current            *lsn.LSN
	Inserted           *lsn.LSN
	SegmentSize        int64
	Flushed            *lsn.LSN
	Received           *lsn.LSN
	Replayed           *lsn.LSN
	ReplayAge          *float64
	ReplayPaused       bool
	Started            time.Time
	ReceiverStatus     *string
	ReceiverEnd        *lsn.LSN
	ReceiverMessageAge *float64
	ReceiverTimeout    float64
	ReceiverHost       *string
	ReceiverPort       *int
	ReceiverSlot       *string
	ReceiverAddress    *string
}

// Observer asks one server again and again over one session that it keeps open: a full server still answers it (SAFETY D44), and a session
// that was open before the server hung tells a hang from a refusal. It is used by one goroutine.
type Observer struct {
	where Where
	conn  *session
}

// NewObserver makes an observer; it connects when it is first asked.
func NewObserver(w Where) *Observer { return &Observer{where: w} }

// Close gives up the session.
func (o *Observer) Close() {
	if o.conn != nil {
		closeConn(o.conn)
		o.conn = nil
	}
}

// Status asks the server what it is.
func (o *Observer) Status(ctx context.Context) (Status, error) {
	r, err := one[statusRow](ctx, o, queryStatus)
	if err != nil {
		return Status{}, fmt.Errorf("ask the server for its status: %w", err)
	}
	s := Status{
		InRecovery: r.InRecovery, SystemID: r.SystemID, Timeline: uint32(r.Timeline), Current: r.Current, Inserted: r.Inserted, Flushed: r.Flushed, SegmentSize: r.SegmentSize, Received: r.Received,
		Replayed: r.Replayed, ReplayAge: r.ReplayAge, ReplayPaused: r.ReplayPaused, Started: r.Started,
	}
	if r.ReceiverStatus != nil {
		s.Receiver = &Receiver{Status: *r.ReceiverStatus, End: r.ReceiverEnd, MessageAge: r.ReceiverMessageAge, Timeout: r.ReceiverTimeout,
			Host: deref(r.ReceiverHost), Port: deref(r.ReceiverPort), Slot: deref(r.ReceiverSlot), Address: deref(r.ReceiverAddress)}
	}
	return s, nil
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// session returns the open session, connecting if there is none.
func (o *Observer) session(ctx context.Context) (*session, error) {
	if o.conn != nil && !o.conn.IsClosed() {
		return o.conn, nil
	}
	o.Close()
	conn, err := o.where.connect(ctx, "postgres", map[string]string{"statement_timeout": "5s"})
	if err != nil {
		return nil, err
	}
	o.conn = conn
	return conn, nil
}

// one and many run a query whose columns are named as the fields of T. A session on which a query failed in any other way than by
// the server's own refusal is closed by the driver, and the next question opens another.
func one[T any](ctx context.Context, o *Observer, query string, args ...string) (T, error) {
	conn, err := o.session(ctx)
	if err != nil {
		var none T
		return none, err
	}
	return row[T](ctx, conn, query, args...)
}

func many[T any](ctx context.Context, o *Observer, query string, args ...string) ([]T, error) {
	conn, err := o.session(ctx)
	if err != nil {
		return nil, err
	}
	return rows[T](ctx, conn, query, args...)
}
