package guarding

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

func TestFenceByHandIsNotedUntilAGrantToRun(t *testing.T) {
	for name, c := range map[string]struct {
		role          grant.Role
		fenced, noted bool
		want          bool
	}{
		"person_fences":                     {grant.Stop, true, false, true},
		"person_has_fenced":                 {grant.Stop, true, true, true},
		"other_stop_fences_nobody":          {grant.Stop, false, false, false},
		"other_stop_lifts_nothing":          {grant.Stop, false, true, true},
		"waiting_lifts_nothing":             {grant.Wait, false, true, true},
		"grant_to_follow_lifts_it":          {grant.Replica, false, true, false},
		"grant_to_lead_lifts_it":            {grant.Primary, false, true, false},
		"word_beside_a_grant_to_run_is_odd": {grant.Replica, true, false, false},
	} {
		if got := byHand(grant.Grant{Role: c.role, Fenced: c.fenced}, c.noted); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
