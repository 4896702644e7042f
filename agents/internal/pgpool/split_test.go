package pgpool

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// reader opens sessions until one reads from the standby.
func reader(t *testing.T, p *pooler, c *cluster) *pgx.Conn {
	t.Helper()
	for range 60 { // in vain with a chance of 1 in 3^60
		conn := p.connect(t, "app")
		if mustAsk(t, conn, where) == c.standby.Host {
			return conn
		}
		closeConn(conn)
	}
	t.Fatal("no session reads from the standby")
	return nil
}

func testReadsAndWrites(t *testing.T, c *cluster) {
	p := startPooler(t, c, func(config *Config) { config.PrimaryRoutingQueries = []string{`.*'routed; here'.*`} })

	t.Run("reads_are_spread_by_weight", func(t *testing.T) {
		seen := map[string]int{}
		for range 30 {
			conn := p.connect(t, "app")
			seen[mustAsk(t, conn, where)]++
			closeConn(conn)
		}
		// Weights 1 and 2. None of 30 on the primary has a chance of 5 in a million, fewer than 8 on the standby a smaller one.
		if seen[c.primary.Host] < 1 || seen[c.standby.Host] < 8 || len(seen) != 2 {
			t.Errorf("sessions by the server they read from: %v; want some on %s and more on %s", seen, c.primary.Host, c.standby.Host)
		}
	})
	t.Run("writes_reach_the_primary", func(t *testing.T) {
		conn := reader(t, p, c)
		mustExecute(t, conn, "INSERT INTO jobs VALUES (1, 'written')")
		if got := c.primary.SQL(t, "SELECT note FROM jobs WHERE id = 1"); got != "written" {
			t.Errorf("on the primary: got %q", got)
		}
	})
	t.Run("functions_that_write_reach_the_primary", func(t *testing.T) {
		c.primary.SQL(t, "CREATE SEQUENCE numbers; GRANT ALL ON numbers TO PUBLIC")
		c.standby.WaitSQL(t, "SELECT count(*) FROM pg_class WHERE relname = 'numbers'", "1")
		conn := reader(t, p, c)
		if got := mustAsk(t, conn, "SELECT nextval('numbers')::text"); got != "1" {
			t.Errorf("got %s, want 1", got)
		}
	})
	t.Run("routed_queries_reach_the_primary", func(t *testing.T) {
		conn := reader(t, p, c)
		if got := mustAsk(t, conn, where+" WHERE 'routed; here' <> ''", pgx.QueryExecModeSimpleProtocol); got != c.primary.Host {
			t.Errorf("went to %s, want the primary %s", got, c.primary.Host)
		}
	})
	t.Run("a_session_reads_what_it_wrote_from_however_late_a_standby", func(t *testing.T) {
		conn := reader(t, p, c)
		c.standby.SQL(t, "SELECT pg_wal_replay_pause()")
		defer c.standby.SQL(t, "SELECT pg_wal_replay_resume()")
		mustExecute(t, conn, "INSERT INTO jobs VALUES (2, 'mine')")
		if got := mustAsk(t, conn, "SELECT coalesce(max(note), 'nothing') FROM jobs WHERE id = 2"); got != "mine" {
			t.Errorf("reads %q after writing \"mine\"", got)
		}
		if got := c.standby.SQL(t, "SELECT count(*) FROM jobs WHERE id = 2"); got != "0" {
			t.Fatalf("the standby has replayed %s rows, so nothing was shown", got)
		}
		other := reader(t, p, c)
		if got := mustAsk(t, other, "SELECT coalesce(max(note), 'nothing') FROM jobs WHERE id = 2"); got != "nothing" {
			t.Errorf("a session that wrote nothing reads %q from the paused standby", got)
		}
	})
}
