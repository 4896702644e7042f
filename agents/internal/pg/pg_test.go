package pg

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

func where(s *pgtest.Server) Where { return Where{SocketDir: s.Outside(s.SocketDir), Port: s.Port} }

func observe(t *testing.T, s *pgtest.Server) *Observer {
	t.Helper()
	o := NewObserver(where(s))
	t.Cleanup(o.Close)
	return o
}

// eventually asks until the answer is as wanted.
func eventually[T any](t *testing.T, what string, ask func(context.Context) (T, error), good func(T) bool) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		got, err := ask(ctx)
		if err == nil && good(got) {
			return got
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: got %+v, %v", what, got, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestObserver(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			testObserver(t, major)
		})
	}
}

func testObserver(t *testing.T, major int) {
	primary := pgtest.New(t, major)
	primary.Start(t)
	p := observe(t, primary)
	ctx := t.Context()

	s, err := p.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.InRecovery || s.Timeline != 1 || s.Current == nil || s.Replayed != nil || s.Receiver != nil || len(s.SystemID) < 15 {
		t.Errorf("primary: got %+v", s)
	}
	if time.Since(s.Started) > time.Minute || time.Since(s.Started) < 0 {
		t.Errorf("started: got %v", s.Started)
	}
	if err := p.CreateSlot(ctx, "pgspan_one"); err != nil {
		t.Fatal(err)
	}
	slots, err := p.Slots(ctx)
	if err != nil || len(slots) != 1 || !slots[0].Physical || slots[0].Active || slots[0].Restart == nil || slots[0].Retained == nil {
		t.Fatalf("slots: got %+v, %v; want one that holds WAL", slots, err)
	}
	if st := slots[0].WALStatus; st == nil || *st != "reserved" {
		t.Errorf("slot status: got %v", st)
	}

	replica := primary.BaseBackup(t)
	replica.Set("primary_slot_name", "pgspan_one")
	replica.Start(t)
	r := observe(t, replica)
	rs := eventually(t, "replica streams", r.Status, func(s Status) bool { return s.Receiver.Streaming() })
	if !rs.InRecovery || rs.Timeline != 1 || rs.Replayed == nil || rs.Current != nil || rs.SystemID != s.SystemID || rs.Receiver.Slot != "pgspan_one" {
		t.Errorf("replica: got %+v %+v", rs, rs.Receiver)
	}
	senders := eventually(t, "sender listed", p.Senders, func(l []Sender) bool { return len(l) == 1 && l[0].State == "streaming" })
	if senders[0].Slot == nil || *senders[0].Slot != "pgspan_one" {
		t.Errorf("sender: got %+v", senders[0])
	}
	if err := p.DropSlot(ctx, "pgspan_one"); err == nil {
		t.Error("an active slot was dropped")
	}

	// link_dead_is_not_lag_zero: the primary dies, the replica has replayed all it has.
	primary.Kill(t)
	dead := eventually(t, "link is down", r.Status, func(s Status) bool { return !s.Receiver.Streaming() })
	if dead.Replayed == nil {
		t.Errorf("replica without upstream: got %+v", dead)
	}
	if _, err := p.Status(ctx); err == nil {
		t.Error("a dead server answered")
	}
	replica.SQL(t, "SELECT pg_promote()")
	up := eventually(t, "promoted", r.Status, func(s Status) bool { return !s.InRecovery })
	if up.Timeline != 2 || up.Current == nil {
		t.Errorf("promoted: got %+v, want timeline 2", up)
	}

	// The observer comes back after its server does.
	primary.Start(t)
	eventually(t, "observer reconnects", p.Status, func(s Status) bool { return s.Timeline == 1 })
	if err := p.DropSlot(ctx, "pgspan_one"); err != nil {
		t.Error(err)
	}
	primary.SQL(t, "ALTER SYSTEM SET max_connections = 33")
	primary.SQL(t, "SELECT pg_reload_conf()")
	f := eventually(t, "pending restart", p.Figures, func(f Figures) bool { return len(f.PendingRestart) > 0 })
	if !strings.Contains(strings.Join(f.PendingRestart, ","), "max_connections") || f.WALBytes < 16<<20 || f.MaxConnections < 10 || f.Connections < 1 {
		t.Errorf("figures: got %+v", f)
	}
}

func TestStreamingNeedsToHaveHeardTheUpstreamLately(t *testing.T) {
	age := func(a float64) *float64 { return &a }
	end := lsn.LSN(1)
	for name, c := range map[string]struct {
		r    *Receiver
		want bool
	}{
		"no_receiver":           {nil, false},
		"starting":              {&Receiver{Status: "starting", MessageAge: age(0), Timeout: 5}, false},
		"streams":               {&Receiver{Status: "streaming", MessageAge: age(4), Timeout: 5, End: &end}, true},
		"silent_for_too_long":   {&Receiver{Status: "streaming", MessageAge: age(6), Timeout: 5, End: &end}, false},
		"never_heard":           {&Receiver{Status: "streaming", Timeout: 5}, false},
		"no_limit_on_silence":   {&Receiver{Status: "streaming", MessageAge: age(600)}, true},
		"waiting_for_upstream":  {&Receiver{Status: "waiting", MessageAge: age(0), Timeout: 5}, false},
		"receiver_is_stopping":  {&Receiver{Status: "stopping", MessageAge: age(0), Timeout: 5}, false},
		"receiver_is_restarted": {&Receiver{Status: "restarting", MessageAge: age(0), Timeout: 5}, false},
	} {
		if got := c.r.Streaming(); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
