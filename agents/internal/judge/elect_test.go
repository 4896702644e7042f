package judge

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// ways is how the leader's timeline 3 came about.
var ways = []timeline.Line{{Timeline: 1, End: 0x1000000}, {Timeline: 2, End: 0x3000000}}

// third led, and is not heard any more.
var third = grant.Incarnation{Member: "pvc-c", Pod: "pod-c1", Boot: "boot-3"}

const electionWait = 2 * time.Second

// standing is a vote on the record of orphaned, with all that the record tells of.
func standing(member, pod string) Standing {
	return Standing{Member: member, Pod: pod, SystemID: systemID, Version: epoch.Version{Epoch: at(3), Beat: 9}, Known: true, Timeline: 3, Position: 0x5000000}
}

// orphaned is an election: the record of a leader that is gone has just run out, this member and another one have voted, and both hold
// all that the record tells of.
func orphaned() Facts {
	f := held(third)
	r := &f.Store.Record
	r.Opened, r.Lines = 3, ways
	r.Members = append(r.Members, record.Member{ID: "pvc-c", Pod: "a-replica-1", Host: "a-replica-1.a-members", Address: "10.0.0.3", Port: 5432})
	f.Store.Expired = true
	f.Others.Volumes = append(f.Others.Volumes, Volume{Member: "pvc-c", Pod: "a-replica-1", SystemID: systemID, Epoch: at(3), Timeline: 3})
	f.Local.State.Server, f.Local.State.Phase = grant.Standby, grant.Running
	f.Local.Previous = &grant.Grant{Role: grant.Replica, Vote: true}
	f.Local.Standing = standing("pvc-a", "a-primary-0")
	f.Election = Election{Wait: electionWait, MaxLag: 1 << 20, Peers: []Standing{standing("pvc-b", "a-replica-0")}}
	return f
}

// leads and waits are the two ends of an election for the member that judges. While it votes, it is told to stream from nobody.
func leads(line uint32) want { return want{role: grant.Replica, do: Take, epoch: at(4), line: line} }
func waits(says string) want {
	return want{role: grant.Replica, epoch: at(3), line: 3, says: says}
}

// stuck waits for what may never come.
func stuck(says string) want {
	w := waits(says)
	w.person = true
	return w
}

// unfit is a member that gave the right up itself, lately.
func unfit(s *Standing) { s.Unfit = "it gave the right up" }

// synchronous lets the record say that every acknowledged commit is on the leader and on k of members.
func synchronous(f *Facts, k int, members ...string) {
	f.Store.Record.Sync = &record.Sync{K: k, Members: members}
}

func free(d time.Duration) func(*Facts) {
	return func(f *Facts) { f.Store.FreeFor, f.Election.For = d, d }
}

// all applies one change after the other.
func all(changes ...func(*Facts)) func(*Facts) {
	return func(f *Facts) {
		for _, c := range changes {
			c(f)
		}
	}
}

// own and peer change a standing.
func own(change func(*Standing)) func(*Facts) {
	return func(f *Facts) { change(&f.Local.Standing) }
}

func peer(change func(*Standing)) func(*Facts) {
	return func(f *Facts) { change(&f.Election.Peers[0]) }
}

func position(at lsn.LSN) func(*Standing) { return func(s *Standing) { s.Position = at } }
func unknown(s *Standing)                 { s.Known, s.Position = false, 0 }
func deaf(f *Facts)                       { f.Election.Peers = nil }
func onLine(line uint32, at lsn.LSN) func(*Standing) {
	return func(s *Standing) { s.Timeline, s.Position = line, at }
}

// back is the leader of before: its server was started again as a standby, and it votes like the others.
func back(line uint32, at lsn.LSN) func(*Facts) {
	return func(f *Facts) {
		s := standing("pvc-c", "a-replica-1")
		s.Timeline, s.Position = line, at
		f.Election.Peers = append(f.Election.Peers, s)
	}
}

func TestVote(t *testing.T) {
	elected := func(change func(*Facts), w want) row { return row{facts: orphaned(), change: change, want: w} }
	check(t, map[string]row{
		"stream_not_cut_yet":                                elected(own(func(s *Standing) { s.Version = epoch.Version{} }), waits("the stream is being cut")),
		"own_vote_is_on_an_older_version":                   elected(own(func(s *Standing) { s.Version.Beat-- }), waits("the stream is being cut")),
		"own_vote_is_on_a_newer_version":                    elected(own(func(s *Standing) { s.Version.Beat++ }), waits("the stream is being cut")),
		"own_position_unknown":                              elected(own(unknown), waits("not known yet")),
		"own_position_unknown_after_all_waits":              elected(all(own(unknown), free(time.Hour)), waits("not known yet")),
		"no_server_runs_yet":                                elected(all(own(func(s *Standing) { *s = Standing{Member: "pvc-a"} }), func(f *Facts) { f.Local.State.Server = grant.Down }), waits("the stream is being cut")),
		"guard_is_not_heard":                                elected(func(f *Facts) { f.Local.Stale = true }, want{says: "not heard"}),
		"an_earlier_server_holds_the_volume":                elected(func(f *Facts) { f.Local.State.Phase = grant.Locking }, want{role: grant.Wait, says: "locked"}),
		"store_went_silent":                                 elected(func(f *Facts) { f.Store.Silent = time.Minute }, want{role: grant.Replica, says: "reads only"}),
		"leader_was_promised_stillness":                     elected(func(f *Facts) { f.Promised = 1 }, want{role: "", says: "was promised"}),
		"promised_and_the_store_is_silent":                  elected(func(f *Facts) { f.Promised, f.Store.Silent = 1, time.Hour }, want{role: "", says: "was promised"}),
		"leader_that_gave_the_record_up_needs_no_promise":   elected(func(f *Facts) { f.Promised, f.Store.Record.Vacated = time.Second, f.Store.Record.Version() }, leads(4)),
		"record_was_given_up_in_an_older_version":           elected(func(f *Facts) { f.Promised, f.Store.Record.Vacated = time.Second, epoch.Version{Epoch: at(3), Beat: 8} }, want{role: "", says: "was promised"}),
		"leader_that_gave_the_record_back_needs_no_promise": elected(func(f *Facts) { f.Promised, f.Store.Record.Released = time.Second, true }, leads(4)),
		"store_went_silent_a_moment_ago":                    elected(func(f *Facts) { f.Store.Silent = time.Second }, leads(4)),
		"record_renewed_after_all":                          elected(func(f *Facts) { f.Store.Expired, f.Store.FreeFor, f.Election.For = false, 0, 0 }, want{role: grant.Replica, epoch: at(3), line: 3, says: "a-replica-1 leads"}),
		"record_of_a_higher_format":                         elected(func(f *Facts) { f.Store.Record.Format = 2 }, want{role: grant.Wait, person: true, says: "format 2"}),
		"unlisted_member":                                   elected(func(f *Facts) { f.Store.Record.Members = f.Store.Record.Members[1:] }, want{role: grant.Wait, says: "has not listed"}),
		"volume_is_a_copy":                                  elected(func(f *Facts) { f.Local.State.Volume.Noted = "pvc-z" }, want{role: grant.Replica, says: "leads"}),
		"volume_has_seen_a_later_epoch":                     elected(func(f *Facts) { f.Local.State.Volume.HighestEpoch = at(4) }, want{role: grant.Wait, person: true, says: "set back"}),
		"volume_of_another_database":                        elected(func(f *Facts) { f.Local.State.Volume.SystemID = "1" }, want{role: grant.Wait, person: true, says: "another database"}),
		"empty_volume":                                      elected(func(f *Facts) { f.Local.State.Volume = &grant.Volume{Empty: true} }, want{role: grant.Replica, says: "leads"}),
		"pod_ends":                                          elected(func(f *Facts) { f.Draining = true }, waits("this pod ends")),
		"writes_without_a_right_and_is_stopped":             elected(func(f *Facts) { f.Local.State.Server = grant.Writable }, want{role: grant.Stop, says: "may write no longer"}),
		"promoting_without_a_right_and_is_stopped":          elected(func(f *Facts) { f.Local.State.Server = grant.Promoting }, want{role: grant.Stop, says: "may write no longer"}),
	})
	f := orphaned()
	if g := Judge(f).Grant; !g.Vote || g.Upstream != nil || g.Version != f.Store.Record.Version() {
		t.Errorf("got %+v, want a vote on version %s that streams from nobody", g, f.Store.Record.Version())
	}
	f.Store.Expired = false
	if g := Judge(f).Grant; g.Vote || g.Upstream == nil {
		t.Errorf("got %+v, want no vote while the leader lives", g)
	}
}

func TestElection(t *testing.T) {
	elected := func(change func(*Facts), w want) row { return row{facts: orphaned(), change: change, want: w} }
	lag := func(bytes int64) func(*Facts) {
		return all(own(position(lsn.LSN(0x5000000-bytes))), peer(position(0x1000)))
	}
	check(t, map[string]row{
		"one_that_gave_up_leaves_it_to_the_fit":   elected(own(unfit), waits("is before this member")),
		"one_that_gave_up_takes_it_after_the_fit": elected(all(own(unfit), free(2*electionWait)), leads(4)),
		"one_that_gave_up_is_better_than_nobody":  elected(all(own(unfit), deaf, free(electionWait)), leads(4)),
		"one_that_gave_up_beside_a_barred_one":    elected(all(own(unfit), peer(func(s *Standing) { s.Barred = "its volume is full" })), leads(4)),
		"best_acts_at_once":                       elected(nil, leads(4)),
		"unheard_member_is_waited_for":            elected(deaf, waits("waiting for a-replica-0 to be heard")),
		"unheard_member_has_had_its_time":         elected(all(deaf, free(electionWait)), leads(4)),
		"unheard_member_a_moment_too_early":       elected(all(deaf, free(electionWait-1)), waits("to be heard")),
		"the_leader_that_is_gone_is_not_waited_for": elected(func(f *Facts) {
			f.Store.Record.Members = append(f.Store.Record.Members[:1:1], f.Store.Record.Members[2])
			f.Election.Peers = nil
		}, leads(4)),
		"vote_on_an_older_version_is_none":    elected(peer(func(s *Standing) { s.Version.Beat-- }), waits("to be heard")),
		"vote_on_a_newer_version_is_none":     elected(peer(func(s *Standing) { s.Version.Beat++ }), waits("to be heard")),
		"vote_on_an_older_epoch_is_none":      elected(peer(func(s *Standing) { s.Version.Epoch = at(2) }), waits("to be heard")),
		"unknown_position_is_not_heard":       elected(peer(unknown), waits("to be heard")),
		"unknown_position_is_not_zero":        elected(all(peer(unknown), own(position(0x4F00000))), waits("to be heard")),
		"another_database_is_not_heard":       elected(peer(func(s *Standing) { s.SystemID = "1" }), waits("to be heard")),
		"unnamed_database_is_not_heard":       elected(peer(func(s *Standing) { s.SystemID = "" }), waits("to be heard")),
		"unlisted_member_is_not_asked":        elected(peer(func(s *Standing) { s.Member, s.Position = "pvc-z", 0x9000000 }), waits("waiting for a-replica-0")),
		"unlisted_member_is_never_before_one": elected(all(peer(func(s *Standing) { s.Member, s.Position = "pvc-z", 0x9000000 }), free(electionWait)), leads(4)),

		"higher_position_goes_first":                 elected(peer(position(0x5000001)), waits("a-replica-0 is before this member")),
		"higher_timeline_goes_first":                 elected(all(own(onLine(2, 0x2F00000)), func(f *Facts) { f.Election.MaxLag = 1 << 40 }), waits("a-replica-0 is before")),
		"lower_position_is_not_waited_for":           elected(peer(position(0x4FFFFFF)), leads(4)),
		"best_does_not_act_and_the_next_does":        elected(all(peer(position(0x5000001)), free(2*electionWait)), leads(4)),
		"best_does_not_act_and_has_a_moment":         elected(all(peer(position(0x5000001)), free(2*electionWait-1)), waits("is before")),
		"two_better_ones_have_a_wait_each":           elected(all(peer(position(0x5000001)), back(3, 0x5000001), free(3*electionWait-1)), waits("is before")),
		"two_better_ones_have_had_a_wait_each":       elected(all(peer(position(0x5000001)), back(3, 0x5000001), free(3*electionWait)), leads(4)),
		"equal_positions_and_lower_priority":         elected(peer(func(s *Standing) { s.Priority = 1 }), waits("is before")),
		"equal_positions_and_higher_priority":        elected(all(own(func(s *Standing) { s.Priority, s.Member = 1, "pvc-a" }), peer(func(s *Standing) { s.Priority = 0 })), leads(4)),
		"priority_does_not_beat_a_position":          elected(all(own(func(s *Standing) { s.Priority = 9 }), peer(position(0x5000001))), waits("is before")),
		"all_equal_and_the_lower_id_wins":            elected(nil, leads(4)),
		"barred_member_does_not_win":                 elected(own(func(s *Standing) { s.Barred = "it never leads" }), waits("cannot win: it never leads")),
		"barred_member_does_not_win_after_all_waits": elected(all(own(func(s *Standing) { s.Barred = "it never leads" }), free(time.Hour)), waits("cannot win")),
		"barred_member_is_not_waited_for":            elected(peer(func(s *Standing) { s.Barred, s.Position = "its volume is full", 0x5000001 }), leads(4)),
		"leader_that_is_back_goes_first":             elected(back(3, 0x5000001), waits("a-replica-1 is before")),
		"leader_that_is_back_and_does_not_act":       elected(all(back(3, 0x5000001), free(2*electionWait)), leads(4)),

		"lag_within_what_may_be_lost":      elected(lag(1<<20), leads(4)),
		"lag_beyond_what_may_be_lost":      elected(lag(1<<20+1), waits("bring back a-replica-1")),
		"lag_is_not_forgiven_by_waiting":   elected(all(lag(1<<20+1), free(time.Hour)), stuck("lacks")),
		"no_loss_is_allowed_and_none_is":   elected(func(f *Facts) { f.Election.MaxLag = 0 }, leads(4)),
		"further_than_the_record_tells_of": elected(all(own(position(0x7000000)), func(f *Facts) { f.Election.MaxLag = 0 }), leads(4)),
	})
	// The other side of a tie: nobody is first twice.
	f := orphaned()
	f.Local.Standing.Member, f.Me.Member, f.Local.State.Volume.Noted = "pvc-b", "pvc-b", "pvc-b"
	f.Election.Peers[0].Member = "pvc-a"
	if v := Judge(f); v.Do != Nothing {
		t.Errorf("the higher id of two equals takes the record too: %s", v.Reason)
	}
}

func TestStrayingPositions(t *testing.T) {
	elected := func(change func(*Facts), w want) row { return row{facts: orphaned(), change: change, want: w} }
	unopened := func(f *Facts) { f.Store.Record.Timeline, f.Store.Record.LSN = 6, 0x2000000 } // reserved by a leader that never told that it opened
	unheard := func(f *Facts) { f.Election.Peers = nil; f.Election.For = time.Hour; f.Election.MaxLag = 1 << 40 }
	check(t, map[string]row{
		"past_the_fork":                                     elected(all(unheard, own(onLine(2, 0x3000001))), waits("has diverged")),
		"at_the_fork":                                       elected(all(unheard, own(onLine(2, 0x3000000))), leads(4)),
		"on_a_timeline_apart":                               elected(all(unheard, func(f *Facts) { f.Store.Record.Lines = ways[1:] }, own(onLine(1, 0x1000))), waits("has diverged")),
		"on_a_timeline_that_nobody_reserved":                elected(all(unheard, own(onLine(4, 0x5000000))), waits("which the record does not know")),
		"diverged_peer_is_not_waited_for":                   elected(peer(onLine(4, 0x9000000)), leads(5)),
		"peer_past_the_fork_is_not_waited_for":              elected(peer(onLine(2, 0x9000000)), leads(4)),
		"leader_whose_storage_was_set_back":                 elected(back(3, 0x4FFFFFF), leads(4)),
		"reserved_timeline_was_never_opened":                elected(unopened, want{role: grant.Replica, do: Take, epoch: at(4), line: 7}),
		"peer_opened_the_timeline_unbeknown":                elected(all(unopened, peer(onLine(6, 0x2000001))), want{role: grant.Replica, epoch: at(3), line: 6, says: "is before"}),
		"peer_on_an_opened_timeline_in_between":             elected(all(unopened, peer(onLine(5, 0x2000001))), want{role: grant.Replica, epoch: at(3), line: 6, says: "is before"}),
		"timeline_above_that_of_a_peer":                     elected(peer(onLine(9, 0x1000)), leads(10)),
		"timeline_above_the_volumes_own":                    elected(func(f *Facts) { f.Local.State.Volume.Timeline = 6 }, leads(7)),
		"timeline_above_that_of_a_replica_promoted_by_hand": elected(func(f *Facts) { f.Others.Volumes[1].Timeline = 7 }, leads(8)),
		"timeline_above_an_interrupted_promotion":           elected(func(f *Facts) { f.Local.State.Volume.PrimaryLine = 5 }, leads(6)),
		"timelines_of_another_database_do_not_count": elected(func(f *Facts) {
			f.Others.Volumes[1].SystemID, f.Others.Volumes[1].Timeline = "1", 7
		}, leads(4)),
	})
}

// What the winner writes is what the next election rests on.
func TestTakenRecord(t *testing.T) {
	f := orphaned()
	synchronous(&f, 1, "pvc-a", "pvc-b")
	f.Store.Record.Heir, f.Local.Standing.Position = "pvc-b", 0x5000008
	f.Store.Version = "17"
	v := Judge(f)
	r := v.Record
	if v.Do != Take || v.Version != "17" {
		t.Fatalf("got %s of version %q: %s", v.Do, v.Version, v.Reason)
	}
	if r.Holder != me || r.Released || r.Heir != "" || r.LSN != 0x5000008 || r.Opened != 3 || len(r.Lines) != 2 || len(r.Members) != 3 {
		t.Errorf("got %+v", r)
	}
	if r.Sync == nil || r.Sync.K != 1 || len(r.Sync.Members) != 2 {
		t.Errorf("synchronous set: got %+v, want the old one until the new leader changes it (rule 11)", r.Sync)
	}
	if m, _ := r.Find("pvc-a"); m.Address != "10.0.0.1" {
		t.Errorf("own address: got %s, want the present one", m.Address)
	}
}
