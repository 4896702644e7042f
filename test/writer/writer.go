// Package writer is the client of fault tests and benchmarks: one connection, an increasing integer inserted at an interval, every
// attempt kept. From its log follow the write gap, what was acknowledged and lost, and what was never acknowledged but is there.
package writer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Attempt is one insert, or one connection that could not be had.
type Attempt struct {
	ID     int64 // from 1; 0: a connection
	Sent   time.Time
	Acked  time.Time // zero: not acknowledged
	Server string    // address of the server that acknowledged
	Err    error
	// Warned: success came with a warning, as a cancelled synchronous wait gives it; it counts as in doubt.
	Warned bool
}

// Writer inserts until it is stopped. The zero value of the options gives GOALS' common writer: each 10 ms, 1.5 s client-side deadline
// (a statement_timeout does not end a synchronous wait).
type Writer struct {
	Connect  func(context.Context) (*pgx.Conn, error)
	Table    string // made by Prepare
	Interval time.Duration
	Deadline time.Duration
	// Once: the first session is the only one. Run returns when it is over. A session that is held open on a lost primary shows whether that
	// one goes on acknowledging.
	Once bool
	// Reigns: the server is its address and the timeline that it writes on, so that one which leads again later is another one.
	Reigns bool
	// First is the first id, 1 unless it is set: two writers of one table must not meet.
	First int64
	// Each, if set, is called with every attempt when it is over.
	Each func(Attempt)

	mu       sync.Mutex
	attempts []Attempt
	warned   bool
}

// readOnly is what a standby answers to a write.
const readOnly = "25006"

// ReadOnly reports whether an attempt met a server that only reads.
func (a Attempt) ReadOnly() bool {
	var answer *pgconn.PgError
	return errors.As(a.Err, &answer) && answer.Code == readOnly
}

// Prepare makes the table anew.
func (w *Writer) Prepare(ctx context.Context) error {
	conn, err := w.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	table := pgx.Identifier{w.Table}.Sanitize()
	_, err = conn.Exec(ctx, "drop table if exists "+table+"; create table "+table+" (id bigint primary key, at timestamptz not null default clock_timestamp())")
	return err
}

// Run inserts until ctx ends, or with Once the session. It never returns an error: a failed attempt is part of the log.
func (w *Writer) Run(ctx context.Context) {
	interval, deadline := w.Interval, w.Deadline
	if interval == 0 {
		interval = 10 * time.Millisecond
	}
	if deadline == 0 {
		deadline = 1500 * time.Millisecond
	}
	insert := "insert into " + pgx.Identifier{w.Table}.Sanitize() + " (id) values ($1) returning coalesce(host(inet_server_addr()), 'socket')"
	if w.Reigns {
		insert += " || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
	}
	var conn *pgx.Conn
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for id := max(w.First, 1); ; {
		select {
		case <-ctx.Done():
			if conn != nil {
				conn.Close(context.WithoutCancel(ctx))
			}
			return
		case <-tick.C:
		}
		if conn == nil {
			c, cancel := context.WithTimeout(ctx, time.Second)
			began := time.Now()
			var err error
			conn, err = w.Connect(c)
			cancel()
			if conn == nil { // the next tick tries again
				w.keep(Attempt{Sent: began, Err: err})
				if w.Once {
					return
				}
				continue
			}
		}
		a := Attempt{ID: id, Sent: time.Now()}
		id++
		whole := context.WithoutCancel(ctx)
		if w.Once {
			whole = ctx // it may wait for a frozen server much longer than anybody waits for the test's end
		}
		c, cancel := context.WithTimeout(whole, deadline)
		a.Err = conn.QueryRow(c, insert, a.ID).Scan(&a.Server)
		cancel()
		if a.Err == nil {
			a.Acked = time.Now()
		}
		w.keep(a)
		var answer *pgconn.PgError
		// A server that only reads is another one than was asked for, as with target_session_attrs=read-write.
		if a.Err != nil && (!errors.As(a.Err, &answer) || conn.IsClosed() || a.ReadOnly()) {
			conn.Close(context.WithoutCancel(ctx))
			conn = nil
			if w.Once {
				return
			}
		}
	}
}

func (w *Writer) keep(a Attempt) {
	w.mu.Lock()
	a.Warned, w.warned = w.warned, false
	w.attempts = append(w.attempts, a)
	w.mu.Unlock()
	if w.Each != nil {
		w.Each(a)
	}
}

// OnNotice is for pgconn.Config.OnNotice: warning 01000 turns the present attempt into one in doubt.
func (w *Writer) OnNotice(_ *pgconn.PgConn, n *pgconn.Notice) {
	if n.Code != "01000" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warned = true
}

// Log returns the attempts so far.
func (w *Writer) Log() []Attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Attempt(nil), w.attempts...)
}
