package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const systemID = "7300000000000000001"

var (
	me    = grant.Incarnation{Member: "pvc-a", Pod: "pod-a2", Boot: "boot-1"}
	early = grant.Incarnation{Member: "pvc-a", Pod: "pod-a1", Boot: "boot-1"} // an earlier life of the same volume
	other = grant.Incarnation{Member: "pvc-b", Pod: "pod-b1", Boot: "boot-2"}
)

func at(local uint64) epoch.Epoch { return epoch.Epoch{Site: 1, Local: local} }

// base is a healthy member with data, whose volume was primary in epoch 1.3 on timeline 3, an API that answers, and no record.
func base() Facts {
	v := grant.Volume{Noted: "pvc-a", SystemID: systemID, Major: 17, Timeline: 3, WasPrimary: at(3), PrimaryLine: 3,
		HighestEpoch: at(3), ClusterState: "shut down", Checkpoint: "0/5000000"}
	return Facts{
		Me: me, Pod: "a-primary-0", Host: "a-primary-0.a-members", IP: "10.0.0.1", Port: 5432, BornPrimary: true, Lease: "a", Namespace: "ns",
		Store: Store{Known: Absent},
		Local: Local{State: &grant.State{Phase: grant.Waiting, Server: grant.Down, Volume: &v}},
		Others: Others{Known: true, WithData: []string{"a-primary-0"}, Volumes: []Volume{
			{Member: "pvc-a", Pod: "a-primary-0", SystemID: systemID, Epoch: at(3), Timeline: 3},
			{Member: "pvc-b", Pod: "a-replica-0", SystemID: systemID, Epoch: at(3), Timeline: 3},
		}},
	}
}

// fresh is a release in which nothing was ever stored.
func fresh() Facts {
	f := base()
	f.Local.State.Volume = &grant.Volume{Empty: true}
	f.Others = Others{Known: true, Empty: []string{"a-primary-0", "a-replica-0"}, Volumes: []Volume{
		{Member: "pvc-a", Pod: "a-primary-0"}, {Member: "pvc-b", Pod: "a-replica-0"}}}
	return f
}

func recordOf(holder grant.Incarnation) record.Record {
	return record.Record{Format: record.Format, Holder: holder, Duration: record.Duration(8 * time.Second), FenceAfter: record.Duration(5 * time.Second),
		Beat: 9, Epoch: at(3), Timeline: 3, LSN: lsn.LSN(0x5000000), SystemID: systemID, Members: []record.Member{
			{ID: "pvc-a", Pod: "a-primary-0", Host: "a-primary-0.a-members", Address: "10.0.0.9", Port: 5432},
			{ID: "pvc-b", Pod: "a-replica-0", Host: "a-replica-0.a-members", Address: "10.0.0.2", Port: 5432},
		}}
}

func held(holder grant.Incarnation) Facts {
	f := base()
	f.Store = Store{Known: Present, Record: recordOf(holder), Version: "17", Mine: holder == me, InForce: holder == me}
	return f
}

type want struct {
	role   grant.Role // empty: the grant is kept as it stands
	do     Do
	epoch  epoch.Epoch // of the changed record, or of the grant
	line   uint32
	person bool
	says   string
}

type row struct {
	facts  Facts
	change func(*Facts)
	want   want
}

func check(t *testing.T, rows map[string]row) {
	t.Helper()
	for name, c := range rows {
		t.Run(name, func(t *testing.T) {
			f := c.facts
			if c.change != nil {
				c.change(&f)
			}
			v := Judge(f)
			role := v.Grant.Role
			if v.Keep {
				if role != "" {
					t.Errorf("a kept grant has role %q", role)
				}
			}
			if role != c.want.role || v.Do != c.want.do || v.Person != c.want.person || !strings.Contains(v.Reason, c.want.says) {
				t.Errorf("got role %q, %s, person %v, %q; want role %q, %s, person %v, %q",
					role, v.Do, v.Person, v.Reason, c.want.role, c.want.do, c.want.person, c.want.says)
			}
			e, line := v.Grant.Epoch, v.Grant.Timeline
			if v.Do != Nothing {
				e, line = v.Record.Epoch, v.Record.Timeline
			}
			if c.want.line != 0 && (e != c.want.epoch || line != c.want.line) {
				t.Errorf("got epoch %s timeline %d, want %s %d", e, line, c.want.epoch, c.want.line)
			}
			if v.Reason == "" {
				t.Error("no reason")
			}
			if v.Person && v.Do != Nothing {
				t.Error("a person is needed and yet the record is changed")
			}
			if v.Grant.Role == grant.Primary && (!f.Store.Mine || !f.Store.InForce) {
				t.Error("granted to be primary without a record in force")
			}
		})
	}
}

func TestWithoutTheAPI(t *testing.T) {
	silent := func(d time.Duration) Facts {
		f := base()
		f.Store = Store{Known: Unreachable, Problem: "dial timeout", Silent: d}
		f.Me.Member = ""
		return f
	}
	check(t, map[string]row{
		"primary_grant_in_force_goes_on": {silent(time.Minute), func(f *Facts) {
			f.Local.Previous, f.Local.PreviousInForce = &grant.Grant{Role: grant.Primary}, true
		}, want{says: "until it ends"}},
		"replica_grant_never_ends": {silent(time.Minute), func(f *Facts) { f.Local.Previous = &grant.Grant{Role: grant.Replica} },
			want{says: "going on as a replica"}},
		"stop_stays_stopped": {silent(time.Second), func(f *Facts) { f.Local.Previous = &grant.Grant{Role: grant.Stop} },
			want{says: "does not answer"}},
		"slow_start_waits":            {silent(time.Second), nil, want{role: grant.Wait, says: "does not answer"}},
		"long_outage_gives_reads":     {silent(time.Minute), nil, want{role: grant.Replica, says: "reads only"}},
		"ended_primary_grant_waits":   {silent(time.Second), func(f *Facts) { f.Local.Previous = &grant.Grant{Role: grant.Primary} }, want{role: grant.Wait}},
		"ended_primary_grant_reads":   {silent(time.Minute), func(f *Facts) { f.Local.Previous = &grant.Grant{Role: grant.Primary} }, want{role: grant.Replica}},
		"empty_volume_never_begins":   {silent(time.Hour), func(f *Facts) { f.Local.State.Volume = &grant.Volume{Empty: true} }, want{role: grant.Wait}},
		"uninspected_volume_waits":    {silent(time.Hour), func(f *Facts) { f.Local.State = nil }, want{role: grant.Wait}},
		"adoption_is_no_excuse":       {silent(time.Hour), func(f *Facts) { f.Adopt = f.Pod }, want{role: grant.Replica, says: "reads only"}},
		"unknown_volume_is_no_leader": {held(me), func(f *Facts) { f.Me.Member = ""; f.Store.InForce = false }, want{role: grant.Wait, says: "which volume"}},
	})
}

func TestWithoutARecord(t *testing.T) {
	check(t, map[string]row{
		"first_primary_claims": {fresh(), nil, want{role: grant.Wait, do: Create, epoch: at(1), line: 1, says: "claiming"}},
		"claim_waits_when_a_lease_was_removed": {fresh(), func(f *Facts) { f.Store.Seen, f.Store.Vacant, f.Store.AbsentWait = true, time.Second, 8*time.Second },
			want{role: grant.Wait, says: "less than 8s ago"}},
		"claim_of_a_new_release_does_not_wait": {fresh(), func(f *Facts) { f.Store.Vacant, f.Store.AbsentWait = 8*time.Second, 8*time.Second },
			want{role: grant.Wait, do: Create, epoch: at(1), line: 1}},
		"empty_replica_waits": {fresh(), func(f *Facts) { f.BornPrimary = false }, want{role: grant.Wait, says: "first primary"}},
		"unheard_api_is_not_an_empty_release": {fresh(), func(f *Facts) { f.Others = Others{} },
			want{role: grant.Wait, says: "not known yet"}},
		"uninspected_volume_is_not_empty": {fresh(), func(f *Facts) { f.Local.State.Volume = nil }, want{role: grant.Wait, says: "inspected"}},
		"kept_claim_of_a_replica_stops_initdb": {fresh(), func(f *Facts) { f.Others.Volumes[1].SystemID = systemID },
			want{role: grant.Wait, person: true, says: "a-replica-0"}},
		"own_kept_claim_stops_initdb": {fresh(), func(f *Facts) { f.Others.Volumes[0].SystemID = systemID },
			want{role: grant.Wait, person: true, says: "bootstrap.adopt"}},
		"unmarked_claim_with_data_stops_initdb": {fresh(), func(f *Facts) { f.Others.WithData = []string{"a-replica-0"} },
			want{role: grant.Wait, person: true, says: "a-replica-0"}},
		"data_without_a_lease_is_told": {base(), nil, want{role: grant.Wait, person: true, says: "set the value bootstrap.adopt to a-primary-0@1.3 if"}},
		"removed_under_a_leader":       {base(), func(f *Facts) { f.Store.InForce = true }, want{says: "written again"}},
		"broken_record_is_no_end":      {base(), func(f *Facts) { f.Store.Known = Broken }, want{role: grant.Wait, person: true, says: "cannot be understood"}},
		"broken_record_under_a_leader": {base(), func(f *Facts) { f.Store.Known, f.Store.InForce = Broken, true },
			want{says: "cannot be understood"}},
	})
}

// What people are told must never cost the only copy.
func TestNobodyIsToldToGiveAwayAVolume(t *testing.T) {
	for name, v := range map[string]Verdict{
		"copy":    Judge(with(held(early), func(f *Facts) { f.Store.Expired, f.Local.State.Volume.Noted = true, "pvc-z" })),
		"foreign": Judge(with(held(early), func(f *Facts) { f.Store.Expired, f.Local.State.Volume.SystemID = true, "1" })),
		"traces":  Judge(with(fresh(), func(f *Facts) { f.Others.Volumes[1].SystemID = systemID })),
	} {
		if !v.Person || strings.Contains(v.Reason, "empty volume") || strings.Contains(v.Reason, "delete the old volume") {
			t.Errorf("%s: %q", name, v.Reason)
		}
	}
}

func with(f Facts, change func(*Facts)) Facts {
	change(&f)
	return f
}

func TestHolder(t *testing.T) {
	server := func(s grant.Server, phase grant.Phase, since time.Duration) func(*Facts) {
		return func(f *Facts) { f.Local.State.Server, f.Local.State.Phase, f.Local.StandbyFor = s, phase, since }
	}
	check(t, map[string]row{
		"goes_on_in_its_epoch":   {held(me), nil, want{role: grant.Primary, epoch: at(3), line: 3}},
		"crash_restart_in_place": {held(me), server(grant.Down, grant.Starting, 0), want{role: grant.Primary, epoch: at(3), line: 3}},
		"promotion_of_a_standby": {held(me), func(f *Facts) {
			server(grant.Standby, grant.Running, time.Hour)(f)
			f.Local.State.Volume.WasPrimary = at(2)
		}, want{role: grant.Primary, epoch: at(3), line: 3}},
		"noted_just_before_the_promotion": {held(me), server(grant.Standby, grant.Running, time.Second), want{says: "about to be promoted"}},
		"standby_of_its_own_spent_epoch":  {held(me), server(grant.Standby, grant.Running, time.Minute), want{do: Take, epoch: at(4), line: 4}},
		"fenced_within_a_short_outage":    {held(me), func(f *Facts) { f.Store.InForce = false }, want{says: "could not be renewed"}},
		"fenced_while_the_server_dies": {held(me), func(f *Facts) {
			f.Store.InForce = false
			server(grant.Writable, grant.Running, 0)(f)
			f.Store.Silent = time.Hour
		}, want{says: "guard ends the server"}},
		"fenced_for_long_gives_reads": {held(me), func(f *Facts) { f.Store.InForce, f.Store.Silent = false, time.Minute }, want{role: grant.Replica, says: "reads only"}},
		"reading_on_while_the_api_is_down": {held(me), func(f *Facts) {
			f.Store.InForce, f.Store.Silent = false, time.Minute
			server(grant.Standby, grant.Running, time.Minute)(f)
		}, want{role: grant.Replica, says: "reads only"}},
		"uninspected_volume": {held(me), func(f *Facts) { f.Local.State = nil; f.Store.InForce = false }, want{role: grant.Wait, says: "inspected"}},
		"restarted_keeper_leaves_a_grant_in_force": {held(me), func(f *Facts) { f.Local.State = nil },
			want{says: "inspected"}},
		"emptied_volume_is_told": {held(me), func(f *Facts) { f.Local.State.Volume = &grant.Volume{Empty: true}; f.Store.InForce = false },
			want{role: grant.Wait, person: true, says: "its volume is empty"}},
		"all_volumes_emptied_is_told": {held(me), func(f *Facts) {
			f.Local.State.Volume, f.Store.InForce = &grant.Volume{Empty: true}, false
			f.Others.WithData, f.Others.Empty = nil, []string{"a-primary-0", "a-replica-0"}
		}, want{role: grant.Wait, person: true, says: "kubectl -n ns delete lease a"}},
		"higher_format_never_leads":  {held(me), func(f *Facts) { f.Store.Record.Format = 2 }, want{role: grant.Wait, person: true, says: "format 2"}},
		"store_was_set_back":         {held(early), func(f *Facts) { f.Store.Expired = true; f.Local.State.Volume.HighestEpoch = at(5) }, want{role: grant.Wait, person: true, says: "set back"}},
		"foreign_data":               {held(early), func(f *Facts) { f.Store.Expired = true; f.Local.State.Volume.SystemID = "1" }, want{role: grant.Wait, person: true, says: "another database"}},
		"copy_of_the_holders_volume": {held(early), func(f *Facts) { f.Store.Expired = true; f.Local.State.Volume.Noted = "pvc-z" }, want{role: grant.Wait, person: true, says: "copy"}},
		"claim_is_granted": {held(me), func(f *Facts) {
			f.Local.State.Volume = &grant.Volume{Empty: true}
			f.Store.Record.SystemID, f.Store.Record.Bootstrap = "", &record.Bootstrap{Member: "pvc-a"}
			f.Store.Record.Epoch, f.Store.Record.Timeline = at(1), 1
		}, want{role: grant.Primary, epoch: at(1), line: 1}},
		"claim_of_another_volume": {held(early), func(f *Facts) {
			f.Local.State.Volume = &grant.Volume{Empty: true}
			f.Store.Record.SystemID, f.Store.Record.Bootstrap, f.Store.Expired = "", &record.Bootstrap{Member: "pvc-z"}, true
		}, want{role: grant.Wait, person: true, says: "claimed"}},
	})
}

func TestBootstrapFlag(t *testing.T) {
	f := held(me)
	f.Local.State.Volume = &grant.Volume{Empty: true}
	f.Store.Record.SystemID, f.Store.Record.Bootstrap = "", &record.Bootstrap{Member: "pvc-a"}
	if v := Judge(f); !v.Grant.Bootstrap {
		t.Errorf("claimed and empty: got %+v, want a grant to bootstrap", v.Grant)
	}
	f.Store.Record.SystemID = systemID
	f.Local.State.Volume = &grant.Volume{Noted: "pvc-a", SystemID: systemID, HighestEpoch: at(3)}
	if v := Judge(f); v.Grant.Bootstrap || v.Grant.Role != grant.Primary {
		t.Errorf("database made: got %+v, want primary without bootstrap", v.Grant)
	}
}

// A returning earlier life of the holder has no more right than anybody else: it starts as a standby, votes, and is elected.
func TestReturningHolder(t *testing.T) {
	claim := func(f *Facts) {
		f.Local.State.Volume, f.Store.Expired = &grant.Volume{Empty: true}, true
		f.Store.Record.SystemID, f.Store.Record.Bootstrap = "", &record.Bootstrap{Member: "pvc-a"}
		f.Store.Record.Epoch, f.Store.Record.Timeline = at(1), 1
	}
	check(t, map[string]row{
		"waits_for_its_earlier_life":           {held(early), nil, want{role: grant.Wait, says: "must run out first"}},
		"reads_on_while_it_waits":              {held(early), func(f *Facts) { f.Local.Previous = &grant.Grant{Role: grant.Replica} }, want{says: "must run out first"}},
		"same_pod_after_a_reboot_waits":        {held(grant.Incarnation{Member: "pvc-a", Pod: me.Pod, Boot: "boot-0"}), nil, want{role: grant.Wait, says: "must run out"}},
		"votes_when_it_ran_out":                {held(early), func(f *Facts) { f.Store.Expired = true }, want{role: grant.Replica, epoch: at(3), line: 3, says: "voting on it"}},
		"crashed_server_votes_before_it_leads": {held(early), func(f *Facts) { f.Store.Expired = true; f.Local.State.Volume.Checkpoint = "0/4000000" }, want{role: grant.Replica, epoch: at(3), line: 3}},
		"locked_volume_waits":                  {held(early), func(f *Facts) { f.Store.Expired = true; f.Local.State.Phase = grant.Locking }, want{role: grant.Wait, says: "locked"}},
		"silent_reporter_waits":                {held(early), func(f *Facts) { f.Store.Expired = true; f.Local.Stale = true }, want{role: grant.Wait, says: "not heard"}},
		"api_lost_again_gives_reads":           {held(early), func(f *Facts) { f.Store.Expired = true; f.Store.Silent = time.Minute }, want{role: grant.Replica, says: "reads only"}},
		"resumed_claim_makes_timeline_1":       {held(early), claim, want{role: grant.Wait, do: Take, epoch: at(2), line: 1}},
		"claim_waits_for_its_earlier_life":     {held(early), func(f *Facts) { claim(f); f.Store.Expired = false }, want{role: grant.Wait, says: "must run out"}},
		"claim_on_a_locked_volume_waits":       {held(early), func(f *Facts) { claim(f); f.Local.State.Phase = grant.Locking }, want{role: grant.Wait, says: "locked"}},
		"claim_of_a_silent_reporter_waits":     {held(early), func(f *Facts) { claim(f); f.Local.Stale = true }, want{role: grant.Wait, says: "not heard"}},
		"claim_with_data_is_elected_as_others": {held(early), func(f *Facts) { f.Store.Expired, f.Store.Record.Bootstrap = true, &record.Bootstrap{Member: "pvc-a"} }, want{role: grant.Replica, epoch: at(3), line: 3}},
		"made_database_on_an_empty_volume":     {held(early), func(f *Facts) { claim(f); f.Store.Record.SystemID = systemID }, want{role: grant.Wait, person: true, says: "its volume is empty"}},
	})
}

// abandonedClaim: the first install failed, its claims were deleted and it was installed again. The lease outlives an uninstall.
func abandonedClaim(f *Facts) {
	r := recordOf(grant.Incarnation{Member: "pvc-gone", Pod: "x", Boot: "y"})
	r.SystemID, r.Epoch, r.Timeline, r.Bootstrap = "", firstEpoch, 1, &record.Bootstrap{Member: "pvc-gone"}
	r.Members = []record.Member{{ID: "pvc-gone", Pod: "a-primary-0"}}
	f.Store = Store{Known: Present, Record: r, Expired: true}
}

func TestFollower(t *testing.T) {
	check(t, map[string]row{
		"streams_from_the_recorded_leader": {held(other), nil, want{role: grant.Replica, epoch: at(3), line: 3, says: "a-replica-0 leads"}},
		"lost_the_record":                  {held(other), func(f *Facts) { f.Local.Previous, f.Local.PreviousInForce = &grant.Grant{Role: grant.Primary}, true }, want{role: grant.Replica, says: "leads"}},
		"expired_lease_of_another_is_voted_on": {held(other), func(f *Facts) { f.Store.Expired = true },
			want{role: grant.Replica, epoch: at(3), line: 3, says: "voting on it"}},
		"released_lease_of_another_is_left_to_who_holds_its_end": {held(other), func(f *Facts) {
			f.Store.Record.Released, f.Local.Previous = true, &grant.Grant{Role: grant.Replica}
		}, want{says: "does not hold"}},
		"unlisted_member_waits":                                  {held(other), func(f *Facts) { f.Store.Record.Members = f.Store.Record.Members[1:] }, want{role: grant.Wait, says: "has not listed"}},
		"unlisted_member_in_an_outage_of_the_api_reads":          {held(other), all(unlistedMember, silent(patience)), want{role: grant.Replica, says: "reads only"}},
		"unlisted_member_while_nobody_leads_for_a_moment":        {held(other), all(unlistedMember, free(unledFor-1)), want{role: grant.Wait, says: "has not listed"}},
		"unlisted_member_while_nobody_leads_reads_and_is_told":   {held(other), all(unlistedMember, free(unledFor)), want{role: grant.Replica, person: true, says: "up to 0/5000000 on timeline 3 at least. Bring a-replica-0 back"}},
		"unlisted_member_after_a_release_that_nobody_took":       {held(other), all(unlistedMember, free(unledFor), func(f *Facts) { f.Store.Record.Released, f.Store.Expired = true, false }), want{role: grant.Replica, person: true, says: "nobody leads"}},
		"unlisted_member_and_the_api_has_been_away_all_the_time": {held(other), all(unlistedMember, free(unledFor), silent(patience)), want{role: grant.Replica, says: "reads only"}},
		"unlisted_copy_while_nobody_leads":                       {held(other), all(unlistedMember, free(unledFor), func(f *Facts) { f.Local.State.Volume.Noted = "pvc-z" }), want{role: grant.Wait, says: "has not listed"}},
		"unlisted_and_empty_while_nobody_leads":                  {held(other), all(unlistedMember, free(unledFor), func(f *Facts) { f.Local.State.Volume = &grant.Volume{Empty: true} }), want{role: grant.Wait, says: "has not listed"}},
		"unlisted_and_the_leaders_volume_is_gone":                {held(other), all(unlistedMember, free(unledFor), func(f *Facts) { f.Others.Volumes = f.Others.Volumes[:1] }), want{role: grant.Replica, person: true, says: "its volume is gone"}},
		"receives_nothing_for_a_moment":                          {held(other), mute(MuteAfter-1, "gone"), want{role: grant.Replica, says: "leads"}},
		"receives_nothing_because_its_wal_is_gone":               {held(other), mute(MuteAfter, "has already been removed"), want{role: grant.Replica, person: true, says: `"has already been removed", says a-replica-0`}},
		"receives_nothing_and_cannot_ask_why":                    {held(other), all(mute(MuteAfter, ""), func(f *Facts) { f.Local.Unasked = "dial" }), want{role: grant.Replica, person: true, says: "could not ask why: dial"}},
		"receives_nothing_while_its_server_is_down":              {held(other), all(mute(MuteAfter, "gone"), func(f *Facts) { f.Local.State.Server = grant.Down }), want{role: grant.Replica, says: "leads"}},
		"leader_not_listed":                                      {held(other), func(f *Facts) { f.Store.Record.Members = f.Store.Record.Members[:1] }, want{role: grant.Wait, says: "does not list its own leader"}},
		"database_is_being_created":                              {held(other), func(f *Facts) { f.Store.Record.SystemID = ""; f.Local.State.Volume = &grant.Volume{Empty: true} }, want{role: grant.Wait, says: "creating"}},
		"foreign_data":                                           {held(other), func(f *Facts) { f.Local.State.Volume.SystemID = "1" }, want{role: grant.Wait, person: true, says: "another database"}},
		"store_was_set_back":                                     {held(other), func(f *Facts) { f.Local.State.Volume.HighestEpoch = at(4) }, want{role: grant.Wait, person: true, says: "set back"}},
		"restored_namespace_of_which_the_leaders_claim_is_another": {held(grant.Incarnation{Member: "old-pvc-b", Pod: "x", Boot: "y"}), func(f *Facts) {
			f.Store.Record.Members = []record.Member{{ID: "old-pvc-a", Pod: "a-primary-0"}, {ID: "old-pvc-b", Pod: "a-replica-0"}}
		}, want{role: grant.Wait, person: true, says: "its volume is gone"}},
		"claim_whose_volume_is_gone": {fresh(), abandonedClaim, want{role: grant.Wait, person: true, says: "kubectl -n ns delete lease a"}},
		"claim_whose_volume_is_gone_beside_data": {fresh(), func(f *Facts) {
			abandonedClaim(f)
			f.Others.Volumes[1].SystemID = systemID
		}, want{role: grant.Wait, person: true, says: "(a-replica-0) hold or held a database"}},
		"claim_while_the_volumes_are_not_known": {fresh(), func(f *Facts) { abandonedClaim(f); f.Others.Known = false },
			want{role: grant.Wait, says: "is creating the database"}},
		"leaders_volume_is_gone": {held(other), func(f *Facts) { f.Others.Volumes = f.Others.Volumes[:1] }, want{role: grant.Replica, says: "elect another when its lease runs out"}},
		"all_volumes_empty_is_told": {held(grant.Incarnation{Member: "pvc-gone", Pod: "x", Boot: "y"}), func(f *Facts) {
			f.Local.State.Volume, f.Others = fresh().Local.State.Volume, fresh().Others
		}, want{role: grant.Wait, person: true, says: "delete lease a"}},
		"one_silent_peer_is_not_all_empty": {held(grant.Incarnation{Member: "pvc-gone", Pod: "x", Boot: "y"}), func(f *Facts) {
			f.Local.State.Volume, f.Others = fresh().Local.State.Volume, fresh().Others
			f.Others.Empty = f.Others.Empty[:1]
		}, want{role: grant.Wait, says: "list"}},
		"higher_format_is_not_voted_on": {held(other), func(f *Facts) { f.Store.Record.Format, f.Store.Expired = 2, true }, want{role: grant.Wait, person: true, says: "format 2"}},
		"free_record_of_a_copy":         {held(other), func(f *Facts) { f.Store.Expired, f.Local.State.Volume.Noted = true, "pvc-z" }, want{role: grant.Replica, says: "leads"}},
		"streams_from_another_server":   {held(other), func(f *Facts) { f.Local.Stranger = "db-9 port 5432" }, want{role: grant.Replica, says: "streams from nobody until"}},
		"higher_format_is_followed":     {held(other), func(f *Facts) { f.Store.Record.Format = 2 }, want{role: grant.Replica, says: "leads"}},
	})
}

func unlistedMember(f *Facts) { f.Store.Record.Members = f.Store.Record.Members[1:] }

func silent(d time.Duration) func(*Facts) { return func(f *Facts) { f.Store.Silent = d } }

func mute(d time.Duration, refusal string) func(*Facts) {
	return func(f *Facts) {
		f.Local.State.Server, f.Local.Mute, f.Local.Refusal = grant.Standby, d, refusal
	}
}
