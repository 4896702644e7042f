package judge

import (
	"reflect"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// SAFETY rule 11: nothing is acknowledged by a list that the leader of this reign has not decided on.
func TestWhomAGrantMakesAServerWaitFor(t *testing.T) {
	set := &record.Sync{K: 1, Members: []string{"pvc-b"}}
	nobody, said := grant.Sync{K: 1}, grant.Sync{K: 1, Members: []string{"pvc-b"}}
	for name, c := range map[string]struct {
		facts  Facts
		change func(*Facts)
		want   *grant.Sync
	}{
		"leader_without_a_mode_waits_for_nobody":     {held(me), nil, &grant.Sync{}},
		"leader_of_a_promise_acknowledges_nothing":   {held(me), func(f *Facts) { f.Store.Record.Sync = set }, &nobody},
		"leader_of_the_mode_acknowledges_nothing":    {held(me), func(f *Facts) { f.Synchronous = true }, &nobody},
		"leader_waits_for_whom_it_was_decided":       {held(me), func(f *Facts) { f.Store.Record.Sync, f.Sync = set, &said }, &said},
		"follower_without_a_mode":                    {held(other), nil, nil},
		"follower_can_acknowledge_nothing":           {held(other), func(f *Facts) { f.Store.Record.Sync = set }, &nobody},
		"follower_of_the_mode":                       {held(other), func(f *Facts) { f.Synchronous = true }, &nobody},
		"follower_is_not_told_what_was_decided_once": {held(other), func(f *Facts) { f.Synchronous, f.Sync = true, &said }, &nobody},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change != nil {
				c.change(&c.facts)
			}
			v := Judge(c.facts)
			if !reflect.DeepEqual(v.Grant.Sync, c.want) {
				t.Errorf("got %+v, want %+v (%s)", v.Grant.Sync, c.want, v.Reason)
			}
		})
	}
}

// A commit that waited when its server was ended is visible when that starts again, and gone when another member was elected meanwhile. A run of random
// faults found it: the leader's node was cut off from the API, its own kube-proxy with it, and clients there read what was never acknowledged (D14).
func TestServerThatLedInSynchronousModeServesNoReadsWithoutTheAPI(t *testing.T) {
	led := func(f *Facts) { f.Local.State.Volume.WasPrimary, f.Local.State.Volume.PrimaryLine = at(3), 3 }
	followed := func(f *Facts) { f.Local.State.Volume.WasPrimary, f.Local.State.Volume.PrimaryLine = at(2), 2 }
	cut := func(f *Facts) { f.Store.InForce, f.Store.Silent = false, time.Minute }
	restarted := func(f *Facts) { f.Store = Store{Known: Unreachable, Problem: "dial timeout", Silent: time.Minute} }
	promise := func(f *Facts) { f.Store.Record.Sync = &record.Sync{K: 1, Members: []string{"pvc-b"}} }
	mode := func(f *Facts) { f.Synchronous = true }
	expired := func(f *Facts) { f.Store.Expired = true }
	reads, none := want{role: grant.Replica, says: "reads only"}, want{role: grant.Wait, says: "no reads meanwhile"}
	early := grant.Incarnation{Member: "pvc-a", Pod: "earlier", Boot: "boot-0"}
	check(t, map[string]row{
		"leader_that_is_cut_off":                      {held(me), all(led, cut, promise), none},
		"leader_that_is_cut_off_before_its_promise":   {held(me), all(led, cut, mode), none},
		"leader_that_is_cut_off_asynchronously":       {held(me), all(led, cut), reads},
		"keeper_that_has_started_in_the_outage":       {held(me), all(led, restarted, mode), none},
		"asynchronous_keeper_started_in_the_outage":   {held(me), all(led, restarted), reads},
		"keeper_of_a_follower_started_in_the_outage":  {held(me), all(followed, restarted, mode), reads},
		"earlier_life_led":                            {held(early), all(led, cut, promise, expired), none},
		"earlier_life_led_asynchronously":             {held(early), all(led, cut, expired), reads},
		"deposed_leader_of_a_free_record":             {held(other), all(led, cut, promise, expired), none},
		"follower_of_a_free_record":                   {held(other), all(followed, cut, promise, expired), reads},
		"deposed_leader_that_is_not_listed":           {held(other), all(led, cut, promise, unlistedMember), want{role: grant.Wait, says: "has not listed"}},
		"follower_that_is_not_listed":                 {held(other), all(followed, cut, promise, unlistedMember), reads},
		"a_replicas_server_that_runs_goes_on_reading": {held(me), all(led, restarted, mode, func(f *Facts) { f.Local.Previous = &grant.Grant{Role: grant.Replica} }), want{says: "going on as a replica"}},
	})
}
