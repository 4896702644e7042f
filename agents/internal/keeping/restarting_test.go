package keeping

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestWhyAServerIsRestarted(t *testing.T) {
	status := pg.Status{InRecovery: true, ReplayPaused: true, Started: time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)}
	run := runOf(status)
	pending := func(names ...string) *pg.Figures { return &pg.Figures{PendingRestart: names} }
	steps := func(s record.Step, state record.State) record.Record {
		return record.Record{Rollout: &record.Rollout{ID: "one", State: state, Step: &s}}
	}
	goes := func(change func(*pg.Status)) pg.Status { s := status; change(&s); return s }
	for name, c := range map[string]struct {
		status  pg.Status
		figures *pg.Figures
		record  record.Record
		want    string
	}{
		"paused_for_less_than_the_leader_has": {status, pending("max_connections", "shared_buffers"), record.Record{}, "the leader has more of max_connections"},
		"paused_by_a_person":                  {status, pending("shared_buffers"), record.Record{}, ""},
		"paused_and_nothing_is_known":         {status, nil, record.Record{}, ""},
		"not_paused":                          {goes(func(s *pg.Status) { s.ReplayPaused = false }), pending("max_connections"), record.Record{}, ""},
		"leader_with_a_pending_setting":       {goes(func(s *pg.Status) { s.InRecovery = false }), pending("max_connections"), record.Record{}, ""},
		"step_of_a_rollout":                   {status, nil, steps(record.Step{Member: "me", Run: run, Reason: "why"}, record.Open), "rollout one: why"},
		"step_for_another_run":                {status, nil, steps(record.Step{Member: "me", Run: "yesterday"}, record.Open), ""},
		"step_for_another_member":             {status, nil, steps(record.Step{Member: "you", Run: run}, record.Open), ""},
		"step_that_replaces_the_pod":          {status, nil, steps(record.Step{Member: "me", UID: "pod"}, record.Open), ""},
		"rollout_that_has_stopped":            {status, nil, steps(record.Step{Member: "me", Run: run}, record.Refused), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := rerunWhy(c.status, c.figures, c.record, "me")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestReplicaThatIsBack(t *testing.T) {
	at := func(l lsn.LSN) *lsn.LSN { return &l }
	back := peers.Status{Me: grant.Incarnation{Member: "m"}, Server: grant.Standby, Streaming: true}
	sender := pg.Sender{Name: judge.SlotName("m"), State: "streaming", Sent: at(1 << 30), Replayed: at(1<<30 - 100)}
	for name, c := range map[string]struct {
		status peers.Status
		sender pg.Sender
		want   string
	}{
		"streams":                 {back, sender, ""},
		"does_not_stream":         {peers.Status{Me: back.Me, Server: grant.Standby, Reason: "why"}, sender, "it does not stream: why"},
		"is_down":                 {peers.Status{Me: back.Me, Streaming: true, Server: grant.Down}, sender, "it does not stream"},
		"has_paused":              {peers.Status{Me: back.Me, Streaming: true, Server: grant.Standby, Paused: true}, sender, "paused"},
		"leader_sees_it_catch_up": {back, pg.Sender{Name: sender.Name, State: "catchup", Sent: sender.Sent, Replayed: sender.Replayed}, "does not see it"},
		"leader_sees_another":     {back, pg.Sender{Name: "other", State: "streaming", Sent: sender.Sent, Replayed: sender.Replayed}, "does not see it"},
		"unknown_is_not_zero":     {back, pg.Sender{Name: sender.Name, State: "streaming", Sent: sender.Sent}, "not known"},
		"far_behind":              {back, pg.Sender{Name: sender.Name, State: "streaming", Sent: sender.Sent, Replayed: at(1 << 20)}, "it lacks"},
	} {
		t.Run(name, func(t *testing.T) {
			got := replicaProblem(c.status, []pg.Sender{c.sender})
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Whoever is asked what waits for a restart before the server has read its files says: nothing.
func TestWhichSettingsAServerGoesBy(t *testing.T) {
	var it told
	state := &grant.State{Settings: "a"}
	at := func(ms int) boottime.Instant { return boottime.Instant(1).Add(time.Duration(ms) * time.Millisecond) }
	steps := []struct {
		ms       int
		settings string
		raised   []string
		figures  bool
		want     string
	}{
		{0, "a", nil, true, ""}, {1000, "a", nil, true, ""}, {1600, "a", nil, true, "a"},
		{2000, "b", nil, true, ""}, {2500, "b", nil, true, ""}, {3600, "b", nil, true, "b"},
		{4000, "b", []string{"max_connections"}, true, ""}, {6000, "b", []string{"max_connections"}, true, "b"},
		{6100, "b", []string{"max_connections"}, false, ""}, {6200, "", nil, true, ""}, {9000, "", nil, true, ""},
	}
	for _, s := range steps {
		state.Settings, state.Raised = s.settings, s.raised
		n := known{state: state, figured: it.look(at(s.ms), state)}
		if s.figures {
			n.figures = &pg.Figures{}
		}
		if got := n.goesBy(); got != s.want {
			t.Errorf("after %d ms: got %q, want %q", s.ms, got, s.want)
		}
	}
}
