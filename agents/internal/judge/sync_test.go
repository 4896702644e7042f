package judge

import (
	"reflect"
	"testing"

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
