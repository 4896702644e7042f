package pgpool

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

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
	t.Run("a_user_without_a_name_can_run_it", func(t *testing.T) {
		t.Parallel()
		p := startPooler(t, c)
		p.Kill()
		p.uid = 1000660000
		p.root.Chown(t, p.dir, p.uid, p.uid)
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
