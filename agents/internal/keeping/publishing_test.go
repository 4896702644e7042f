package keeping

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestRoleLabel(t *testing.T) {
	for name, c := range map[string]struct {
		role      observed.Role
		present   string
		elsewhere bool
		want      string
	}{
		"primary":                        {observed.Primary, "replica", false, "primary"},
		"standby":                        {observed.Replica, "primary", true, "replica"},
		"new_pod_beside_a_leader":        {observed.Unknown, "", true, "replica"},
		"new_pod_and_nobody_leads":       {observed.Unknown, "", false, ""},
		"stopped_primary_changes_no_ro":  {observed.Unknown, "primary", true, ""},
		"stopped_primary_nobody_follows": {observed.Unknown, "primary", false, ""},
		"stopped_replica":                {observed.Unknown, "replica", true, "replica"},
	} {
		if got := roleLabel(c.role, c.present, c.elsewhere); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestServiceLeadsToAStandbyThatIsAboutToBePromoted(t *testing.T) {
	good := func() (*grant.State, lease.View) {
		return &grant.State{Phase: grant.Running, Server: grant.Standby, Volume: &grant.Volume{SystemID: "7"}}, lease.View{Renewals: 1, Record: record.Record{SystemID: "7"}}
	}
	for name, c := range map[string]struct {
		change func(*grant.State, *lease.View)
		want   bool
	}{
		"right_just_taken":        {func(*grant.State, *lease.View) {}, true},
		"promotion_under_way":     {func(s *grant.State, _ *lease.View) { s.Server = grant.Promoting }, true},
		"does_not_accept_yet":     {func(s *grant.State, _ *lease.View) { s.Phase = grant.Starting }, false},
		"is_stopped":              {func(s *grant.State, _ *lease.View) { s.Server = grant.Down }, false},
		"another_database":        {func(s *grant.State, _ *lease.View) { s.Volume.SystemID = "8" }, false},
		"no_database_yet":         {func(s *grant.State, v *lease.View) { s.Volume.SystemID, v.Record.SystemID = "", "" }, false},
		"volume_not_looked_at":    {func(s *grant.State, _ *lease.View) { s.Volume = nil }, false},
		"not_confirmed_by_a_word": {func(_ *grant.State, v *lease.View) { v.Renewals = 0 }, false},
	} {
		s, v := good()
		c.change(s, &v)
		if got := (known{state: s}).opens(v); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if (known{}).opens(lease.View{Renewals: 1, Record: record.Record{SystemID: "7"}}) {
		t.Error("nothing is known of the server, and the Service leads to it")
	}
}
