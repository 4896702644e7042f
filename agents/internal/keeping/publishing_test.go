package keeping

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/observed"
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
