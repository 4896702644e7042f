package judge

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// givenBack is a record that its leader released, and this member a standby that has replayed up to at.
func givenBack(at lsn.LSN) Facts {
	f := orphaned()
	f.Store.Expired, f.Store.Record.Released = false, true
	f.Local.Previous = &grant.Grant{Role: grant.Replica}
	f.Local.Standing = Standing{Member: "pvc-a", Pod: "a-primary-0", SystemID: systemID, Timeline: 3}
	f.Local.Replayed, f.Election.Peers = &at, nil
	return f
}

// gaveBack is the member that released it, and whose server is down.
func gaveBack() Facts {
	f := held(me)
	f.Store.Record.Released, f.Store.Mine, f.Store.InForce = true, false, false
	f.Store.Record.Opened = 3
	f.Local.State.Phase = grant.Stopped
	f.Local.Previous = &grant.Grant{Role: grant.Stop}
	return f
}

func TestReleasedRecord(t *testing.T) {
	holds := func(change func(*Facts), w want) row {
		return row{facts: givenBack(0x5000080), change: change, want: w}
	}
	lacks := func(change func(*Facts), w want) row {
		return row{facts: givenBack(0x4FFFFFF), change: change, want: w}
	}
	gave := func(change func(*Facts), w want) row { return row{facts: gaveBack(), change: change, want: w} }
	takes := want{do: Take, epoch: at(4), line: 4}
	expired := func(f *Facts) { f.Store.Expired, f.Store.FreeFor, f.Election.For = true, 8*time.Second, 8*time.Second }
	heir := func(id string) func(*Facts) { return func(f *Facts) { f.Store.Record.Heir = id } }
	check(t, map[string]row{
		"holder_of_the_end_takes_it_at_once":         holds(nil, takes),
		"shutdown_checkpoint_is_missing":             row{givenBack(0x5000000), nil, want{says: "does not hold"}},
		"shutdown_checkpoint_comes_from_nobody":      row{givenBack(0x5000000), free(heirWait), takes},
		"lagging_member_waits":                       lacks(nil, want{says: "which this member does not hold"}),
		"lagging_member_waits_a_moment_too_short":    lacks(free(8*time.Second-1), want{says: "does not hold"}),
		"lagging_member_votes_after_a_full_duration": lacks(all(expired, func(f *Facts) { f.Local.Replayed = nil }), waits("the stream is being cut")),
		"lagging_member_is_elected_after_it": lacks(all(expired, func(f *Facts) {
			f.Local.Standing, f.Local.Replayed = standing("pvc-a", "a-primary-0"), nil
			f.Local.Standing.Position = 0x4FFFFFF
		}), leads(4)),
		"unknown_position_waits":          holds(func(f *Facts) { f.Local.Replayed = nil }, want{says: "does not hold"}),
		"past_the_fork_is_not_the_end":    holds(func(f *Facts) { f.Local.Standing.Timeline, *f.Local.Replayed = 2, 0x6000000 }, want{says: "does not hold"}),
		"before_the_fork_is_not_the_end":  holds(func(f *Facts) { f.Local.Standing.Timeline, f.Store.Record.LSN, *f.Local.Replayed = 2, 0x100, 0x200 }, want{says: "does not hold"}),
		"older_timeline_of_an_untold_one": holds(func(f *Facts) { f.Store.Record.Opened, f.Local.Standing.Timeline, *f.Local.Replayed = 2, 2, 0x6000000 }, want{says: "does not hold"}),
		"unknown_timeline":                holds(func(f *Facts) { f.Local.Standing.Timeline = 0 }, want{says: "does not hold"}),
		"barred_member_leaves_it":         holds(func(f *Facts) { f.Local.Standing.Barred = "it never leads" }, want{says: "does not hold"}),
		"one_that_gave_up_leaves_it":      holds(func(f *Facts) { f.Local.Standing.Unfit = "it gave up" }, want{says: "does not hold"}),
		"ending_pod_leaves_it":            holds(func(f *Facts) { f.Draining = true }, want{says: "does not hold"}),
		"higher_format_is_left":           holds(func(f *Facts) { f.Store.Record.Format = 2 }, want{role: grant.Wait, person: true, says: "format 2"}),
		"unlisted_member_leaves_it":       holds(func(f *Facts) { f.Store.Record.Members = f.Store.Record.Members[1:] }, want{role: grant.Wait, says: "not listed"}),
		"volume_of_a_later_epoch":         holds(func(f *Facts) { f.Local.State.Volume.HighestEpoch = at(4) }, want{role: grant.Wait, person: true, says: "set back"}),
		"store_silent":                    holds(func(f *Facts) { f.Store.Silent = time.Minute }, want{role: grant.Replica, says: "reads only"}),
		"state_stale":                     holds(func(f *Facts) { f.Local.Stale = true }, want{says: "not heard"}),
		"synchronous_needs_nobody_else":   holds(func(f *Facts) { synchronous(f, 1, "pvc-b") }, takes),

		"heir_takes_it_at_once":                    holds(heir("pvc-a"), takes),
		"heir_goes_first":                          holds(heir("pvc-b"), want{says: "was released to a-replica-0"}),
		"heir_has_not_had_its_time":                holds(all(heir("pvc-b"), free(heirWait-1)), want{says: "was released to"}),
		"heir_does_not_come":                       holds(all(heir("pvc-b"), free(heirWait)), takes),
		"heir_that_is_not_listed_is_no_heir":       holds(heir("pvc-z"), takes),
		"heir_that_lags_waits":                     lacks(heir("pvc-a"), want{says: "does not hold"}),
		"giver_takes_it_back_by_its_shutdown":      gave(nil, want{role: grant.Wait, do: Take, epoch: at(4), line: 4}),
		"giver_leaves_it_to_the_heir":              gave(heir("pvc-b"), want{role: grant.Wait, says: "was released to"}),
		"giver_takes_it_back_from_an_absent_heir":  gave(all(heir("pvc-b"), free(heirWait)), want{role: grant.Wait, do: Take, epoch: at(4), line: 4}),
		"giver_whose_storage_was_set_back":         gave(func(f *Facts) { f.Local.State.Volume.Checkpoint = "0/4FFFFFF" }, want{role: grant.Wait, says: "does not hold"}),
		"giver_set_back_to_an_older_timeline":      gave(func(f *Facts) { f.Local.State.Volume.Timeline = 2 }, want{role: grant.Wait, says: "does not hold"}),
		"giver_with_an_unknown_checkpoint":         gave(func(f *Facts) { f.Local.State.Volume.Checkpoint = "" }, want{role: grant.Wait, says: "does not hold"}),
		"giver_whose_server_is_starting":           gave(func(f *Facts) { f.Local.State.Server = grant.Standby }, want{role: grant.Wait, says: "does not hold"}),
		"giver_whose_pod_ends":                     gave(func(f *Facts) { f.Local.Standing.Barred = "its pod ends" }, want{role: grant.Wait, says: "does not hold"}),
		"giver_on_a_locked_volume":                 gave(func(f *Facts) { f.Local.State.Phase = grant.Locking }, want{role: grant.Wait, says: "locked"}),
		"others_checkpoint_is_not_the_giver's":     holds(func(f *Facts) { f.Local.Replayed, f.Local.State.Server = nil, grant.Down }, want{says: "does not hold"}),
		"reserved_timelines_are_not_given_out_two": holds(func(f *Facts) { f.Others.Volumes[1].Timeline = 8 }, want{do: Take, epoch: at(4), line: 9}),
	})
}

func TestHandover(t *testing.T) {
	// told is a leader that was told to give the right to pvc-b, whose guard was told to stop by grant 7.
	told := func(change func(*Facts), w want) row {
		f := held(me)
		f.Handover = &Handover{Heir: "pvc-b", Reason: "the pod ends"}
		f.Local.Previous = &grant.Grant{Role: grant.Stop, Seq: 7, Epoch: at(3), Timeline: 3}
		f.Local.State.Seq, f.Local.State.Phase = 7, grant.Stopped
		return row{facts: f, change: change, want: w}
	}
	stops := want{role: grant.Stop, epoch: at(3), line: 3, says: "the pod ends"}
	check(t, map[string]row{
		"leading_server_is_told_to_stop": told(func(f *Facts) {
			f.Local.Previous, f.Local.State.Server, f.Local.State.Phase = &grant.Grant{Role: grant.Primary, Seq: 6}, grant.Writable, grant.Running
		}, stops),
		"stop_is_not_written_yet":             told(func(f *Facts) { f.Local.Previous = &grant.Grant{Role: grant.Primary, Seq: 6} }, stops),
		"down_by_itself_under_a_grant":        told(func(f *Facts) { f.Local.Previous.Role = grant.Primary }, stops),
		"guard_has_not_confirmed_this_stop":   told(func(f *Facts) { f.Local.State.Seq = 6 }, stops),
		"guard_is_not_heard":                  told(func(f *Facts) { f.Local.Stale = true }, stops),
		"server_still_shuts_down":             told(func(f *Facts) { f.Local.State.Server = grant.Writable }, stops),
		"confirmed_and_down_is_released":      told(nil, want{role: grant.Stop, do: Release, epoch: at(3), line: 3}),
		"killed_and_the_volume_holds_them":    told(killedAll, want{role: grant.Stop, do: Release, epoch: at(3), line: 3}),
		"killed_before_this_stop":             told(all(killedAll, func(f *Facts) { f.Local.State.Seq = 6 }), stops),
		"killed_and_guard_is_not_heard":       told(all(killedAll, func(f *Facts) { f.Local.Stale = true }), stops),
		"killed_for_a_clean_hand_over":        told(all(killedAll, func(f *Facts) { f.Handover.Kill = false }), stops),
		"stop_is_not_confirmed_for_long":      told(all(killedAll, func(f *Facts) { f.Local.State.KilledAll, f.Handover.For = false, time.Minute }), toPerson(stops, "guard has not confirmed for 1m0s")),
		"clean_hand_over_takes_long":          told(func(f *Facts) { f.Local.Stale, f.Handover.For = true, time.Minute }, stops),
		"not_all_are_killed_yet":              told(all(killedAll, func(f *Facts) { f.Local.State.KilledAll = false }), stops),
		"lease_ran_out_and_nothing_is_given":  told(func(f *Facts) { f.Store.InForce = false }, want{says: "could not be renewed"}),
		"another_holder_and_nothing_is_given": {held(other), func(f *Facts) { f.Handover = &Handover{Reason: "x"} }, want{role: grant.Replica, says: "leads"}},
	})
	f := told(nil, want{}).facts
	if v := Judge(f); v.Record.Heir != "pvc-b" || v.Record.Epoch != at(3) {
		t.Errorf("got %+v, want the same epoch given to pvc-b", v.Record)
	}
}

// toPerson is w as something for a person, who is told more.
func toPerson(w want, says string) want {
	w.person, w.says = true, says
	return w
}

// killedAll is a server that is told to be killed, was, and does not go.
func killedAll(f *Facts) {
	f.Handover.Unclean, f.Handover.Kill = true, true
	f.Local.State.KilledAll, f.Local.State.Server, f.Local.State.Phase = true, grant.Writable, grant.Stopping
}

// A standby that is past the leader's fork must not stream: it would be refused, or worse, not be.
func TestStrayedStandby(t *testing.T) {
	follows := func(line uint32, replayed lsn.LSN, change func(*Facts), w want) row {
		f := held(other)
		f.Store.Record.Opened, f.Store.Record.Lines = 3, ways
		f.Local.State.Server, f.Local.State.Phase = grant.Standby, grant.Running
		f.Local.Standing.Timeline, f.Local.Replayed = line, &replayed
		return row{facts: f, change: change, want: w}
	}
	streams := want{role: grant.Replica, epoch: at(3), line: 3, says: "leads"}
	check(t, map[string]row{
		"on_the_leaders_timeline":          follows(3, 0x9000000, nil, streams),
		"before_the_fork":                  follows(2, 0x2000000, nil, streams),
		"past_the_fork_is_stopped":         follows(2, 0x3000001, nil, want{role: grant.Stop, epoch: at(3), line: 3, says: "1 bytes past the point"}),
		"on_a_timeline_apart_is_stopped":   follows(5, 0x100, nil, want{role: grant.Stop, says: "none of the leader's"}),
		"unknown_timeline_is_left_alone":   follows(0, 0x9000000, nil, streams),
		"unknown_position_is_left_alone":   follows(2, 0, func(f *Facts) { f.Local.Replayed = nil }, streams),
		"leader_has_not_told_its_way_yet":  follows(2, 0x9000000, func(f *Facts) { f.Store.Record.Opened, f.Store.Record.Lines = 1, nil }, streams),
		"server_is_down_and_plan_sees_it":  follows(2, 0x9000000, func(f *Facts) { f.Local.State.Server = grant.Down }, streams),
		"unopened_timeline_tells_no_lines": follows(2, 0x2000000, func(f *Facts) { f.Store.Record.Timeline = 4 }, want{role: grant.Replica, epoch: at(3), line: 4}),
	})
}
