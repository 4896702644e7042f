package pgpool

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// slack is what a busy machine may add to a time that is asked for.
const slack = 3 * time.Second

// attempt opens a session, reads, and tells from where and how long it took.
func attempt(p *pooler) (from string, took time.Duration, err error) {
	start := time.Now()
	conn, err := p.open("app", hard["app"])
	if err != nil {
		return "", time.Since(start), err
	}
	defer closeConn(conn)
	from, err = ask(conn, where)
	return from, time.Since(start), err
}

// spread waits until sessions read from both servers, which ends with the first of each.
func spread(t *testing.T, p *pooler, c *cluster) {
	t.Helper()
	seen := map[string]bool{}
	eventually(t, "reads are spread again", func() error {
		from, _, err := attempt(p)
		if err != nil {
			return err
		}
		if seen[from] = true; len(seen) < 2 {
			return fmt.Errorf("all reads come from %v", seen)
		}
		return nil
	})
}

func testReplicasGone(t *testing.T, c *cluster) {
	t.Run("connections_are_refused", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		p.ro.lead(t)
		for range 10 {
			from, took, err := attempt(p)
			if err != nil || from != c.primary.Host || took > sessionLimit+slack {
				t.Errorf("read from %s after %s, %v; want the primary within %s", from, took, err, sessionLimit)
			}
		}
		conn := p.connect(t, "app")
		mustExecute(t, conn, "CREATE TEMPORARY TABLE written ()")
		p.ro.lead(t, c.standby)
		spread(t, p, c)
	})
	for name, begin := range map[string]func(*vip, *testing.T){"nobody_answers": (*vip).swallow, "they_hang": (*vip).hang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPooler(t, c)
			begin(p.ro, t)
			var slowest, last time.Duration
			for range 10 {
				from, took, err := attempt(p)
				if err != nil || from != c.primary.Host {
					t.Errorf("read from %s after %s, %v; want the primary", from, took, err)
				}
				slowest, last = max(slowest, took), took
			}
			if slowest > sessionLimit+slack {
				t.Errorf("a session waited %s, want at most %s", slowest, sessionLimit)
			}
			if last > slack {
				t.Errorf("the last session still waited %s for replicas that have long been gone", last)
			}
			p.ro.lead(t, c.standby)
			spread(t, p, c)
		})
	}
	t.Run("one_of_two_is_dead", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		p.ro.lead(t, &pgtest.Server{Host: "127.0.0.1", Port: 1}, c.standby)
		seen := map[string]int{}
		for range 20 {
			from, took, err := attempt(p)
			if err != nil || took > sessionLimit+slack {
				t.Errorf("read after %s: %v", took, err)
			}
			seen[from]++
		}
		if seen[c.standby.Host] == 0 {
			t.Errorf("sessions by the server they read from: %v; want some on the live replica %s", seen, c.standby.Host)
		}
	})
	t.Run("their_name_resolves_to_nothing", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c, func(config *Config) { config.Replicas.Host = "replicas.invalid" })
		for range 5 {
			from, took, err := attempt(p)
			if err != nil || from != c.primary.Host || took > sessionLimit+slack {
				t.Errorf("read from %s after %s, %v; want the primary within %s", from, took, err, sessionLimit)
			}
		}
	})
	t.Run("there_never_were_any", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c, func(config *Config) { config.Replicas = nil })
		if from, _, err := attempt(p); err != nil || from != c.primary.Host {
			t.Errorf("read from %s, %v; want the primary", from, err)
		}
	})
	t.Run("a_standby_ends_under_a_session", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		conn := reader(t, p, c)
		// This one alone: other tests read from the same standby at the same time.
		host, pid, _ := strings.Cut(mustAsk(t, conn, "SELECT host(inet_server_addr()) || ' ' || pg_backend_pid()"), " ")
		if got := c.standby.SQL(t, "SELECT pg_terminate_backend("+pid+")"); host != c.standby.Host || got != "t" {
			t.Fatalf("session %s on %s: ended is %s", pid, host, got)
		}
		start := time.Now()
		if _, err := ask(conn, where); err == nil {
			t.Error("the session goes on though its server has ended it")
		}
		if took := time.Since(start); took > sessionLimit+slack {
			t.Errorf("the session took %s to end", took)
		}
		if _, took, err := attempt(p); err != nil || took > sessionLimit+slack {
			t.Errorf("the next session: %v after %s", err, took)
		}
	})
}

func testPrimaryUnreachable(t *testing.T, c *cluster) {
	t.Run("a_short_gap_is_waited_out", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		p.rw.lead(t)
		go func() {
			time.Sleep(500 * time.Millisecond) // less than the patience of a second
			p.rw.lead(t, c.primary)
		}()
		conn, err := p.open("app", hard["app"])
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(conn)
		mustExecute(t, conn, "CREATE TEMPORARY TABLE written ()")
	})
	t.Run("nobody_answers", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		before := p.connect(t, "app")
		mustExecute(t, before, "CREATE TEMPORARY TABLE written ()")
		p.rw.swallow(t)
		from, took, err := attempt(p)
		if err != nil || from != c.standby.Host || took > sessionLimit+slack {
			t.Errorf("read from %s after %s, %v; want the standby within %s", from, took, err, sessionLimit)
		}
		if err := execute(before, "TABLE written"); err == nil {
			t.Error("a session with the primary that has gone is still there")
		}
		p.rw.lead(t, c.primary)
		spread(t, p, c)
	})
}

func testPrimaryDies(t *testing.T, c *cluster) {
	p := startPooler(t, c)
	pgpool := p.pgpool(t)
	before := p.connect(t, "app")
	mustAsk(t, before, where)
	c.primary.Kill(t)
	p.rw.lead(t)
	if err := execute(before, "INSERT INTO jobs VALUES (3, 'lost')"); err == nil {
		t.Error("wrote to a primary that is dead")
	}
	from, took, err := attempt(p)
	if err != nil || from != c.standby.Host || took > sessionLimit+slack {
		t.Errorf("read from %s after %s, %v; want the standby within %s", from, took, err, sessionLimit)
	}
	conn := p.connect(t, "app")
	if err := execute(conn, "INSERT INTO jobs VALUES (4, 'lost')"); err == nil || !strings.Contains(err.Error(), "read-only transaction") {
		t.Errorf("a write without a primary: %v; want PostgreSQL's own refusal", err)
	}
	if got := mustAsk(t, conn, "SELECT count(*)::text FROM jobs WHERE id IN (3, 4)"); got != "0" {
		t.Errorf("after the refused write the session reads %s", got)
	}

	c.primary.Start(t)
	p.rw.lead(t, c.primary)
	back := time.Now()
	eventually(t, "writes are possible again", func() error {
		conn, err := p.open("app", hard["app"])
		if err != nil {
			return err
		}
		defer closeConn(conn)
		return execute(conn, "INSERT INTO jobs VALUES (5, 'back') ON CONFLICT DO NOTHING")
	})
	if took := time.Since(back); took > 3*time.Second+slack {
		t.Errorf("writes took %s to come back", took)
	}
	if err := execute(conn, "SELECT 1"); err == nil {
		t.Error("a session that was given a replica for the primary goes on with it")
	}
	spread(t, p, c)
	if got := p.pgpool(t); got != pgpool {
		t.Errorf("pgpool was restarted: process %d, before %d", got, pgpool)
	}
}
