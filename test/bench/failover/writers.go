package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"
)

// warm is how many rows each writer has been acknowledged before a trial goes on.
const warm = 50

// writers are the common writer, through the Service by a node's port, and the session held open on the primary.
type writers struct {
	app  cluster.App
	w    *writer.Writer
	held *session
	stop context.CancelFunc
	done chan struct{}

	halted   bool
	attempts []writer.Attempt // of the held session, once halted
	err      error
}

// startWriters returns when both are acknowledged by the primary. Without a node to hold a session from, there is only the common one.
func (b *bench) startWriters(ctx context.Context, p product, lead member, away string) (_ *writers, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := p.client(ctx)
	if err != nil {
		return nil, err
	}
	w := &writers{done: make(chan struct{})}
	if w.app, err = p.common().throughNode(ctx, client, away); err != nil {
		return nil, err
	}
	for _, table := range []string{tableHeld, tableWrites} {
		if err := (&writer.Writer{Connect: w.app.Connect, Table: table}).Prepare(ctx); err != nil {
			return nil, err
		}
	}
	w.w = &writer.Writer{Table: tableWrites}
	w.app.OnNotice = w.w.OnNotice
	w.w.Connect = w.app.Connect
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	go func() { defer close(w.done); w.w.Run(run) }()
	defer func() {
		if err != nil {
			w.halt()
		}
	}()
	if b.held != "" {
		if w.held, err = hold(ctx, b.held, b.lab, lead.node, tableHeld, straight(client, lead)); err != nil {
			return nil, err
		}
	}
	err = cluster.Wait(ctx, "both writers write to the primary", func(context.Context) (bool, string, error) {
		n := acked(w.w.Log(), lead.address)
		held := warm
		if w.held != nil {
			log, err := w.held.attempts()
			if err != nil {
				return false, "", err
			}
			held = acked(log, lead.address)
		}
		return n >= warm && held >= warm, fmt.Sprintf("%d through %s, %d in the held session", n, endpoint(w.app), held), nil
	})
	return w, err
}

// acked counts what a server has acknowledged.
func acked(log []writer.Attempt, server string) int {
	n := 0
	for _, a := range log {
		if !a.Acked.IsZero() && a.Server == server {
			n++
		}
	}
	return n
}

// halt stops both, once.
func (w *writers) halt() {
	if w.halted {
		return
	}
	w.halted = true
	w.stop()
	<-w.done
	if w.held != nil {
		w.attempts, w.err = w.held.end()
	}
}

// finish stops both and reads which of their rows are there. After a failover that failed there may be nobody to ask: rows stay unknown then.
func (w *writers) finish(ctx context.Context, o *observed) error {
	w.halt()
	if w.err != nil {
		return w.err
	}
	o.log, o.held = w.w.Log(), w.attempts
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := cluster.Wait(ctx, "the writers' rows can be read", func(ctx context.Context) (bool, string, error) {
		conn, err := w.app.Connect(ctx)
		if err != nil {
			return false, "", err
		}
		defer conn.Close(ctx)
		rows, err1 := writer.Rows(ctx, conn, tableWrites)
		left, err2 := writer.Rows(ctx, conn, tableHeld)
		if err := errors.Join(err1, err2); err != nil {
			return false, "", err
		}
		o.rows, o.left = rows, left
		return true, "", nil
	})
	if err != nil && o.recovered {
		return err
	}
	return nil
}
