package judge

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

// SAFETY D41: a leader whose volume is full keeps its lease and serves reads, and leads on when there is room.
func TestLeaderThatCannotWrite(t *testing.T) {
	leading := func(server grant.Server, change func(*Facts), w want) row {
		f := held(me)
		f.Local.State.Server, f.Local.State.Phase = server, grant.Running
		f.Care = Treatment{ReadOnly: true, Person: true, Reason: "its volume is full"}
		return row{facts: f, change: change, want: w}
	}
	room := func(f *Facts) { f.Care = Treatment{} }
	long := func(f *Facts) { f.Local.StandbyFor = time.Minute }
	check(t, map[string]row{
		"server_is_shut_down_under_the_lease": leading(grant.Writable, nil, want{role: grant.Stop, epoch: at(3), line: 3, person: true, says: "full"}),
		"down_it_comes_back_for_readers":      leading(grant.Down, nil, want{role: grant.Replica, person: true, says: "full"}),
		"standby_stays_one":                   leading(grant.Standby, long, want{role: grant.Replica, person: true, says: "full"}),
		"promotion_is_not_interrupted":        leading(grant.Promoting, nil, want{role: grant.Primary, epoch: at(3), line: 3, person: true, says: "full"}),
		"lease_ran_out":                       leading(grant.Down, func(f *Facts) { f.Store.InForce = false }, want{says: "could not be renewed"}),
		"handed_over_meanwhile":               leading(grant.Writable, func(f *Facts) { f.Handover = &Handover{Reason: "x"} }, want{role: grant.Stop, epoch: at(3), line: 3, says: "x"}),
		"room_again_it_leads_on":              leading(grant.Standby, all(room, long), want{do: Take, epoch: at(4), line: 4}),
		"room_before_it_was_down":             leading(grant.Writable, room, want{role: grant.Primary, epoch: at(3), line: 3}),
	})
	follows := held(other)
	follows.Full = "its volume is full"
	check(t, map[string]row{"standby_on_a_full_volume_goes_on_and_a_person_is_told": {follows, nil, want{role: grant.Replica, person: true, says: "raise persistence.size"}}})
	f := leading(grant.Writable, nil, want{}).facts
	if v := Judge(f); v.Fence {
		t.Error("the server is killed and not shut down")
	}
	f = leading(grant.Standby, nil, want{}).facts
	if v := Judge(f); v.Grant.Upstream != nil {
		t.Errorf("it streams from %+v", v.Grant.Upstream)
	}
}
