package pg

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// What waits for a restart is no mistake, and what is one does not wait for a restart.
func TestFiguresTellMistakesFromWhatWaits(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.New(t, major)
			s.Start(t)
			o := observe(t, s)
			// What the test's servers are given on their command line counts as waiting once they have read a file that says something else.
			s.SQL(t, "SELECT pg_reload_conf()")
			time.Sleep(time.Second)
			first, err := o.Figures(t.Context())
			if err != nil || len(first.Unusable) > 0 {
				t.Fatalf("got %+v, %v", first, err)
			}
			for _, c := range []struct{ lines, waits, unusable string }{
				{"", "", ""},
				{"work_mem = '5MB'", "", ""},
				{"work_mem = '12 bananas'", "", "work_mem: setting could not be applied"},
				{"wal_buffers = 'secret'", "", "wal_buffers: setting could not be applied"},
				{"work_men = '5MB'", "", "work_men: unrecognized configuration parameter"},
				{"pg_cron.what = 'on'", "", ""},
				{"work_mem '5MB' 6", "", "syntax error"},
				{"Max_Locks_Per_Transaction = 77", "max_locks_per_transaction", ""}, // the last: it waits until the restart, even when the line is gone
			} {
				s.WriteFile(t, s.PGDATA()+"/postgresql.auto.conf", []byte(c.lines+"\n"), 0o600)
				s.SQL(t, "SELECT pg_reload_conf()")
				f, err := o.Figures(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(f.Unusable, "; "); got != c.unusable {
					t.Errorf("%q: got %q, want %q", c.lines, got, c.unusable)
				}
				eventually(t, c.lines+": what waits", o.Figures, func(f Figures) bool {
					more := slices.DeleteFunc(f.PendingRestart, func(name string) bool { return slices.Contains(first.PendingRestart, name) })
					return strings.Join(more, " ") == c.waits
				})
			}
		})
	}
}
