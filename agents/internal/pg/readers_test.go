package pg

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// A reader whose snapshot or lock conflicts with WAL holds up replay, for ever with a delay of -1. A new value of that setting does not reach a wait
// that has begun.
func TestReadersThatHoldUpReplayAreEnded(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		for name, c := range map[string]struct {
			reader, writer string
			sessions       bool
		}{
			"query_whose_rows_are_removed":          {"SELECT pg_sleep(60), count(*) FROM public.t", "DELETE FROM public.t WHERE n < 900; VACUUM public.t", false},
			"idle_transaction_on_a_changed_table":   {"", "ALTER TABLE public.t ADD COLUMN x int", true},
			"idle_transaction_with_an_old_snapshot": {"", "DELETE FROM public.t WHERE n < 900; VACUUM public.t", true},
		} {
			if c.reader == "" && major != slices.Max(pgtest.Majors(t)) {
				continue // the same in all of them
			}
			t.Run(strconv.Itoa(major)+"/"+name, func(t *testing.T) {
				t.Parallel()
				p := pgtest.New(t, major)
				p.Start(t)
				p.SQL(t, "CREATE TABLE public.t AS SELECT generate_series(1, 1000) n")
				r := p.BaseBackup(t, pgtest.WithSetting("max_standby_streaming_delay", "-1"), pgtest.WithSetting("max_standby_archive_delay", "-1"))
				r.Start(t)
				r.WaitSQL(t, "SELECT count(*) FROM public.t", "1000")
				reader := observe(t, r)
				s, err := reader.session(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := s.run(t.Context(), "SET statement_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.t"); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				if c.reader != "" {
					go func() { ended <- s.run(context.Background(), c.reader) }()
				}
				for q := range strings.SplitSeq(c.writer, "; ") { // VACUUM stands alone
					p.SQL(t, q)
				}
				o := observe(t, r)
				eventually(t, "replay is held up", o.Position, func(a Position) bool { return a.Conflict && !a.Waiting })
				if told, err := o.EndReaders(t.Context(), c.sessions); err != nil || told != 1 {
					t.Errorf("told %d, %v; want 1", told, err)
				}
				began := time.Now()
				eventually(t, "replay goes on", o.Position, func(a Position) bool { return !a.Conflict })
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("replay goes on after %v", d)
				}
				if c.reader != "" && <-ended == nil {
					t.Error("the query was not ended")
				}
				if told, err := o.EndReaders(t.Context(), true); err != nil || told != 0 {
					t.Errorf("sessions outside of a transaction: told %d, %v; want none", told, err)
				}
			})
		}
	}
}
