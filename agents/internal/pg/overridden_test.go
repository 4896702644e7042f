package pg

import (
	"slices"
	"strconv"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// SAFETY D13: what ALTER SYSTEM sets beats the files of the configuration without a word, on a standby too.
func TestSettingsOfAlterSystemAreFoundAndTakenBack(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			primary := pgtest.New(t, major)
			primary.Start(t)
			replica := primary.BaseBackup(t)
			replica.Start(t)
			ours := []string{"fsync", "primary_conninfo", "synchronous_standby_names"}
			for name, s := range map[string]*pgtest.Server{"primary": primary, "replica": replica} {
				o := observe(t, s)
				clear := func() { // a base backup of the test's own leaves some
					t.Helper()
					names, err := o.Overridden(t.Context(), ours)
					if err == nil {
						err = o.Reset(t.Context(), names)
					}
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				}
				clear()
				if got, err := o.Overridden(t.Context(), ours); err != nil || len(got) != 0 {
					t.Errorf("%s, nothing is set: got %v, %v", name, got, err)
				}
				// fsync stands on the command line and wins; it would count at the next start of another command line.
				for _, statement := range []string{"SET synchronous_standby_names = 'x'", "SET fsync = off", "SET work_mem = '5MB'"} {
					s.SQL(t, "ALTER SYSTEM "+statement)
				}
				s.SQL(t, "SELECT pg_reload_conf()")
				s.WaitSQL(t, "SHOW synchronous_standby_names", "x")
				got, err := o.Overridden(t.Context(), ours)
				if err != nil || !slices.Equal(got, []string{"fsync", "synchronous_standby_names"}) {
					t.Errorf("%s: got %v, %v", name, got, err)
				}
				clear()
				s.WaitSQL(t, "SHOW synchronous_standby_names", "")
				s.WaitSQL(t, "SHOW work_mem", "5MB")
			}
		})
	}
}
