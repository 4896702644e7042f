package pg

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// A server hangs when nothing answers; whatever clients do to each other is no hang (SAFETY D36, D44).
func TestPulse(t *testing.T) {
	s := pgtest.New(t, 17, pgtest.WithSetting("max_connections", "6"), pgtest.WithSetting("superuser_reserved_connections", "0"), pgtest.WithSetting("max_wal_senders", "0"))
	s.Start(t)
	p := NewPulse(where(s))
	t.Cleanup(p.Close)
	beat := func(p *Pulse) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return p.Beat(ctx)
	}
	if err := beat(p); err != nil {
		t.Fatal(err)
	}
	session := func(t *testing.T, sql string) {
		t.Helper()
		c, err := where(s).connect(t.Context(), "postgres", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeConn(c) })
		if err := c.run(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("catalogs_locked_by_a_client", func(t *testing.T) {
		session(t, "BEGIN; LOCK TABLE pg_catalog.pg_class, pg_catalog.pg_type, pg_catalog.pg_proc IN ACCESS EXCLUSIVE MODE")
		if err := beat(p); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no_room_for_another_session", func(t *testing.T) {
		for range 5 {
			session(t, "")
		}
		fresh := NewPulse(where(s))
		t.Cleanup(fresh.Close)
		if _, err := where(s).connect(t.Context(), "postgres", nil); !Answered(err) {
			t.Fatalf("got %v, want a refusal", err)
		}
		if err := beat(fresh); err != nil {
			t.Errorf("a refusal is no answer: %v", err)
		}
	})
	t.Run("stopped_server", func(t *testing.T) {
		processes := append(s.Process().Children(), pgtest.Child{PID: s.Process().PID})
		signal := func(sig syscall.Signal) {
			for _, c := range processes {
				_ = syscall.Kill(c.PID, sig)
			}
		}
		signal(syscall.SIGSTOP)
		defer signal(syscall.SIGCONT)
		if err := beat(p); err == nil {
			t.Error("a stopped server answers")
		}
		if err := beat(p); err == nil { // over a new session, if it can be had
			t.Error("a stopped server answers a new session")
		}
		signal(syscall.SIGCONT)
		for end := time.Now().Add(20 * time.Second); beat(p) != nil; {
			if time.Now().After(end) {
				t.Fatal("it does not answer after it goes on")
			}
		}
	})
}
