package judge

import (
	"reflect"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

// The judge knows spans only. Those that nothing waits for may be a day longer, and nothing changes.
func TestADayMoreChangesNoVerdictThatWaitsForNothing(t *testing.T) {
	const day = 24 * time.Hour
	promoted := held(me)
	promoted.Local.State.Server, promoted.Local.State.Phase = grant.Writable, grant.Running
	following := held(other)
	following.Local.State.Server, following.Local.State.Phase = grant.Standby, grant.Running
	outvoted := orphaned()
	outvoted.Local.Standing.Known = false
	lagging := orphaned()
	lagging.Local.Standing.Position, lagging.Election.Peers = 0x100, nil
	lagging.Election.For = electionWait
	unsure := orphaned()
	synchronous(&unsure, 1, "pvc-a", "pvc-b")
	unsure.Election.Peers = nil
	for name, f := range map[string]Facts{
		"leads": held(me), "leads_and_writes": promoted, "follows": following, "waits_for_its_earlier_life": held(early), "no_record": base(), "nothing_stored": fresh(),
		"best_candidate": orphaned(), "position_unknown": outvoted, "lags_too_much": lagging, "acknowledgements_unknown": unsure,
		"holds_the_final_position": givenBack(0x5000080), "gave_it_back": gaveBack(), "lags_behind_the_release": givenBack(0x4FFFFFF),
	} {
		want := Judge(f)
		for _, span := range []func(*Facts) *time.Duration{
			func(f *Facts) *time.Duration { return &f.Store.FreeFor },
			func(f *Facts) *time.Duration { return &f.Election.For },
			func(f *Facts) *time.Duration { return &f.Local.StandbyFor },
			func(f *Facts) *time.Duration { return &f.Store.AbsentWait },
		} {
			moved := f
			*span(&moved) += day
			got := Judge(moved)
			if got.Person && got.Grant.Vote {
				got.Person = want.Person // an election that has stood still is something for a person, and still the same
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, want %+v", name, got, want)
			}
		}
	}
}
