package pg

import (
	"strconv"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// Only what a member itself receives, over the slot of its own name, can count, and each sender shows which list it goes by (SAFETY rule 12).
func TestWhoCanAcknowledge(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			primary := pgtest.New(t, major)
			primary.Start(t)
			p := observe(t, primary)
			for _, slot := range []string{"pgspan_own", "pgspan_clone"} {
				if err := p.CreateSlot(t.Context(), slot); err != nil {
					t.Fatal(err)
				}
			}
			start := func(name, slot string) {
				replica := primary.BaseBackup(t)
				replica.Set("cluster_name", name) // what the receiver calls itself
				replica.Set("primary_slot_name", slot)
				replica.Start(t)
			}
			start("pgspan_own", "pgspan_own")
			start("pgspan_other", "pgspan_clone")
			all := func(counts bool) func(Acks) bool {
				return func(a Acks) bool {
					return len(a.Standbys) == 2 && a.Standbys[0].Streams && a.Standbys[1].Streams && a.Standbys[0].Flushed != nil && a.Standbys[1].Counts == counts && a.Idle
				}
			}
			a := eventually(t, "both stream", p.Acks, all(false))
			if a.Names != "" || a.Flushed == 0 || a.Standbys[0].Name != "pgspan_other" || a.Standbys[0].OwnSlot || !a.Standbys[1].OwnSlot {
				t.Errorf("got %+v", a)
			}
			primary.SQL(t, `ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ("pgspan_own")'`)
			primary.SQL(t, "SELECT pg_reload_conf()")
			a = eventually(t, "the sender goes by the list", p.Acks, all(true))
			if a.Names != `ANY 1 ("pgspan_own")` || a.Standbys[0].Counts {
				t.Errorf("got %+v", a)
			}
		})
	}
}
