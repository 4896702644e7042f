package pg

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// A standby whose WAL is gone asks again and again, and only two logs say why nothing comes.
func TestServerSaysWhyItSendsNoWAL(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			s := pgtest.New(t, major, pgtest.WithHBA("local all all trust", "host replication postgres 127.0.0.0/8 trust"),
				pgtest.WithSetting("wal_keep_size", "0"), pgtest.WithSetting("max_wal_size", "32MB"), pgtest.WithSetting("min_wal_size", "32MB"))
			s.Start(t)
			for range 4 {
				s.SQL(t, "SELECT pg_switch_wal()")
				s.SQL(t, "CREATE TABLE IF NOT EXISTS t (id int); INSERT INTO t VALUES (1)")
				s.SQL(t, "CHECKPOINT")
			}
			o := observe(t, s)
			now, err := o.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			u := Upstream{Host: s.Host, Port: s.Port, User: "postgres", ApplicationName: "pgspan-keeper"}
			for name, c := range map[string]struct {
				line uint32
				back int64 // files before the end
				says string
			}{
				"it_would_send":             {1, 0, ""},
				"the_file_is_gone":          {1, 4, "has already been removed"},
				"it_was_never_on_that_line": {7, 0, "timeline 7"},
				"more_than_it_has":          {1, -3, "ahead of the WAL flush position"},
			} {
				from := lsn.LSN(int64(*now.Current) - c.back*now.SegmentSize)
				got, err := Refusal(t.Context(), u, c.line, from, now.SegmentSize)
				if err != nil || (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
					t.Errorf("%s: got %q, %v; want %q", name, got, err, c.says)
				}
			}
			u.User = "nobody"
			if got, err := Refusal(t.Context(), u, 1, *now.Current, now.SegmentSize); err != nil || !strings.Contains(got, "pg_hba.conf") {
				t.Errorf("not let in: got %q, %v", got, err)
			}
			s.Stop(t)
			u.User = "postgres"
			if got, err := Refusal(t.Context(), u, 1, *now.Current, now.SegmentSize); err == nil {
				t.Errorf("nobody there: got %q and no error", got)
			}
		})
	}
}
