package pgpool

import (
	"fmt"
	"strings"
	"syscall"
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
		c.standby.SQL(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND query ~ 'inet_server_addr' AND pid <> pg_backend_pid()")
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

func testEnds(t *testing.T, c *cluster) {
	// end stops the pooler as a kubelet does and tells how long it took.
	end := func(t *testing.T, p *pooler) time.Duration {
		t.Helper()
		start := time.Now()
		p.Signal(t, syscall.SIGTERM)
		if code := p.Wait(t, 20*time.Second); code != 0 {
			t.Errorf("exit code %d\n%s", code, p.Stderr())
		}
		return time.Since(start)
	}
	t.Run("idle_sessions_do_not_hold_it_up", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		conn := p.connect(t, "app")
		mustAsk(t, conn, where)
		if took := end(t, p); took < linger || took > linger+slack {
			t.Errorf("took %s, want a little more than %s", took, linger)
		}
	})
	t.Run("a_new_session_is_served_until_the_service_knows", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		p.Signal(t, syscall.SIGTERM)
		if _, _, err := attempt(p); err != nil {
			t.Error(err)
		}
	})
	t.Run("a_transaction_may_end", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		conn := p.connect(t, "app")
		mustExecute(t, conn, "BEGIN")
		mustExecute(t, conn, "INSERT INTO jobs VALUES (6, 'in time')")
		ended := make(chan time.Duration)
		go func() { ended <- end(t, p) }()
		time.Sleep(linger + time.Second) // the signal has long been heard
		mustExecute(t, conn, "COMMIT")
		if took := <-ended; took > linger+time.Second+slack {
			t.Errorf("took %s after the transaction's end", took-linger-time.Second)
		}
		if got := c.primary.SQL(t, "SELECT count(*) FROM jobs WHERE id = 6"); got != "1" {
			t.Errorf("%s rows of the transaction, want 1", got)
		}
	})
	t.Run("a_transaction_without_end_is_cut_off", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		conn := p.connect(t, "app")
		mustExecute(t, conn, "BEGIN")
		mustExecute(t, conn, "INSERT INTO jobs VALUES (7, 'never')")
		// PGSPAN_STOP_TIMEOUT is 3 s here.
		if took := end(t, p); took < linger+3*time.Second || took > linger+3*time.Second+closing+slack {
			t.Errorf("took %s, want %s and up to %s more", took, linger+3*time.Second, closing)
		}
	})
	t.Run("a_killed_pooler_leaves_nothing_that_hinders_the_next", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		if _, _, err := attempt(p); err != nil {
			t.Fatal(err)
		}
		p.Kill()
		// The number in the pid file is one that runs in the new container too.
		p.root.WriteFile(t, p.dir+"/socket/pgpool.pid", []byte("1\n"), 0o644)
		p.launch(t)
		if _, _, err := attempt(p); err != nil {
			t.Error(err)
		}
	})
	t.Run("a_pgpool_that_dies_ends_the_container", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		if err := syscall.Kill(p.pgpool(t), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code := p.Wait(t, 10*time.Second); code != 1 || !strings.Contains(p.Stderr(), "pgpool ended by signal 9") {
			t.Errorf("exit code %d; want 1 and the reason in\n%s", code, p.Stderr())
		}
	})
	t.Run("orphans_are_reaped", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		// A child of nobody's: its parent leaves at once, so the first process of the container inherits it.
		orphan(t, p)
		eventually(t, "no dead process is left", func() error { return noZombies(p.PID) })
	})
}
