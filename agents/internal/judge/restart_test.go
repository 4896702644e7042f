package judge

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

func TestServerIsRestartedForItsSettings(t *testing.T) {
	runs := func(server grant.Server, more ...func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			f.Local.Restart = "rollout one"
			f.Local.State.Server, f.Local.State.Phase = server, grant.Running
			for _, m := range more {
				m(f)
			}
		}
	}
	check(t, map[string]row{
		"primary_is_stopped_in_its_reign":   {held(me), runs(grant.Writable), want{role: grant.Stop, epoch: at(3), line: 3, says: "is restarted: rollout one"}},
		"primary_begins_again_in_its_reign": {held(me), runs(grant.Down), want{role: grant.Primary, epoch: at(3), line: 3}},
		"replica_is_stopped":                {held(other), runs(grant.Standby), want{role: grant.Stop, epoch: at(3), line: 3, says: "is restarted"}},
		"replica_begins_again":              {held(other), runs(grant.Down), want{role: grant.Replica, epoch: at(3), line: 3}},
		"promotion_is_not_disturbed":        {held(me), runs(grant.Promoting), want{role: grant.Primary, epoch: at(3), line: 3}},
		"standby_that_is_to_be_promoted":    {held(me), runs(grant.Standby, func(f *Facts) { f.Local.State.Volume.WasPrimary = at(2) }), want{role: grant.Primary, epoch: at(3), line: 3}},
		"hand_over_goes_first":              {held(me), runs(grant.Writable, func(f *Facts) { f.Handover = &Handover{Heir: "pvc-b", Reason: "switchover"} }), want{role: grant.Stop, says: "switchover"}},
		"end_of_the_pod_goes_first":         {held(me), runs(grant.Writable, func(f *Facts) { f.Local.State.Ending = true }), want{role: grant.Primary, epoch: at(3), line: 3}},
		"right_that_is_not_renewed_goes_on": {held(me), runs(grant.Writable, func(f *Facts) { f.Store.InForce = false }), want{says: "could not be renewed"}},
		"vote_goes_first":                   {held(other), runs(grant.Standby, func(f *Facts) { f.Store.Expired = true }), want{role: grant.Replica}},
		"writing_server_without_a_right":    {held(other), runs(grant.Writable), want{role: grant.Stop, says: "may write no longer"}},
	})
	f := held(me)
	runs(grant.Writable)(&f)
	if v := Judge(f); v.Fence || v.Grant.Reign != f.Store.Record.Reign {
		t.Errorf("got %+v: want a shutdown under the lease, not a fence", v)
	}
}
