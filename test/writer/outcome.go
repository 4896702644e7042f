package writer

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Outcome is what a log means once the rows that exist at the end are known.
type Outcome struct {
	Acked   int
	Gap     time.Duration // longest time between two acknowledgements, and up to End
	GapAt   time.Time     // when it began
	Lost    []int64       // acknowledged, without a warning, and not there
	InDoubt int           // not acknowledged (or with a warning), yet there: allowed
	Phantom []int64       // there, never attempted
	Overlap time.Duration // how long two servers acknowledged at the same time; must be 0
}

// Judge compares a log with the rows found afterwards. begin and end bound the time in which gaps count; a zero end means the last attempt.
func Judge(log []Attempt, rows map[int64]bool, begin, end time.Time) Outcome {
	var o Outcome
	tried := make(map[int64]bool, len(log))
	last := begin
	lastAck, firstAck := map[string]time.Time{}, map[string]time.Time{}
	gap := func(until time.Time) {
		if d := until.Sub(last); d > o.Gap {
			o.Gap, o.GapAt = d, last
		}
	}
	for _, a := range log {
		tried[a.ID] = true
		if a.Acked.IsZero() || a.Warned {
			if rows[a.ID] {
				o.InDoubt++
			}
			continue
		}
		o.Acked++
		if !rows[a.ID] {
			o.Lost = append(o.Lost, a.ID)
		}
		if firstAck[a.Server].IsZero() {
			firstAck[a.Server] = a.Acked
		}
		lastAck[a.Server] = a.Acked
		if a.Acked.Before(begin) {
			continue
		}
		gap(a.Acked)
		last = a.Acked
	}
	if !end.IsZero() && end.After(last) {
		gap(end)
	}
	for id := range rows {
		if !tried[id] {
			o.Phantom = append(o.Phantom, id)
		}
	}
	for one := range firstAck {
		for other := range firstAck {
			if one == other || firstAck[one].After(firstAck[other]) {
				continue
			}
			// one was first; it must have been done before other began. A server that comes back later is another matter and is
			// judged by the timeline, not here: then other's acknowledgements lie wholly between.
			if d := lastAck[one].Sub(firstAck[other]); d > o.Overlap && lastAck[one].Before(lastAck[other]) {
				o.Overlap = d
			}
		}
	}
	return o
}

// Zombie is how long after the first acknowledgement of another server a session that was held open still got one: the server of that session
// had been deposed. It must be 0. A server that leads again later has restarted meanwhile, so no session outlives its reign.
func Zombie(log, held []Attempt) time.Duration {
	var worst time.Duration
	for _, h := range held {
		if h.Acked.IsZero() {
			continue
		}
		for _, a := range log {
			if !a.Acked.IsZero() && a.Server != h.Server && a.Acked.After(held[0].Sent) {
				worst = max(worst, h.Acked.Sub(a.Acked))
				break // the first one is the worst
			}
		}
	}
	return worst
}

// Errors tells what attempts between from and to met with, for a test's log: how often, and when first and last, in milliseconds after from.
func Errors(log []Attempt, from, to time.Time) string {
	type met struct{ n, first, last int64 }
	all := map[string]met{}
	order := []string{}
	for _, a := range log {
		if a.Err == nil || a.Sent.Before(from) || a.Sent.After(to) {
			continue
		}
		text, at := a.Err.Error(), a.Sent.Sub(from).Milliseconds()
		m, seen := all[text]
		if !seen {
			m.first = at
			order = append(order, text)
		}
		m.n, m.last = m.n+1, at
		all[text] = m
	}
	out := ""
	for _, text := range order {
		m := all[text]
		out += fmt.Sprintf("\n  %d times from %d to %d ms: %s", m.n, m.first, m.last, text)
	}
	return out
}

// Rows reads the ids that exist.
func Rows(ctx context.Context, conn *pgx.Conn, table string) (map[int64]bool, error) {
	rows, err := conn.Query(ctx, "select id from "+pgx.Identifier{table}.Sanitize())
	if err != nil {
		return nil, fmt.Errorf("read the writer's rows: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read the writer's rows: %w", err)
	}
	out := make(map[int64]bool, len(ids))
	for _, id := range ids {
		out[id] = true
	}
	return out, nil
}

// String is one line for a test's log.
func (o Outcome) String() string {
	return fmt.Sprintf("acked %d, gap %s, lost %d, in doubt %d, phantom %d, overlap %s", o.Acked, o.Gap.Round(time.Millisecond), len(o.Lost), o.InDoubt, len(o.Phantom), o.Overlap)
}
