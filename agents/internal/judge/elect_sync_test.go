package judge

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// of is an election in synchronous mode.
func of(k int, members ...string) func(*Facts) {
	return func(f *Facts) { synchronous(f, k, members...) }
}

func TestSynchronousElection(t *testing.T) {
	elected := func(change func(*Facts), w want) row { return row{facts: orphaned(), change: change, want: w} }
	for1 := of(1, "pvc-a", "pvc-b")
	check(t, map[string]row{
		"all_of_the_set_are_heard":                         elected(for1, leads(4)),
		"only_acknowledger_may_be_the_one_that_is_missing": elected(all(for1, deaf, free(time.Hour)), stuck("2 of the synchronous members a-primary-0, a-replica-0 must be heard, 1 are")),
		"one_of_two_is_enough_where_both_acknowledge":      elected(all(of(2, "pvc-a", "pvc-b"), deaf), leads(4)),
		"only_acknowledger_votes_itself":                   elected(all(of(1, "pvc-a"), deaf), leads(4)),
		"only_acknowledger_is_missing":                     elected(all(of(1, "pvc-b"), deaf, free(time.Hour)), stuck("must be heard")),
		"only_acknowledger_has_more":                       elected(all(of(1, "pvc-b"), peer(position(0x5000001)), free(time.Hour)), waits("may hold what was acknowledged")),
		"member_beside_the_set_with_all_of_it":             elected(of(1, "pvc-b"), leads(4)),
		"member_beside_the_set_is_no_part_of_it":           elected(all(of(1, "pvc-b", "pvc-c"), deaf, free(time.Hour)), stuck("must be heard")),
		"vote_on_an_older_version_does_not_count":          elected(all(for1, peer(func(s *Standing) { s.Version.Beat-- }), free(time.Hour)), stuck("must be heard")),
		"unknown_position_does_not_count":                  elected(all(for1, peer(unknown), free(time.Hour)), stuck("must be heard")),
		"foreign_database_does_not_count":                  elected(all(for1, peer(func(s *Standing) { s.SystemID = "1" }), free(time.Hour)), stuck("must be heard")),
		"diverged_member_does_not_count":                   elected(all(for1, peer(onLine(2, 0x3000001)), free(time.Hour)), stuck("must be heard")),
		"member_told_twice_does_not_count_twice":           elected(all(of(1, "pvc-a", "pvc-b"), func(f *Facts) { f.Election.Peers = []Standing{standing("pvc-a", "x")} }, free(time.Hour)), stuck("must be heard")),
		"unlisted_member_never_counts": elected(all(of(1, "pvc-a", "pvc-z"), func(f *Facts) {
			f.Election.Peers = append(f.Election.Peers, standing("pvc-z", "z"))
		}, free(time.Hour)), stuck("must be heard")),

		"highest_does_not_act_and_nobody_else_does":  elected(all(for1, peer(position(0x5000001)), free(24*time.Hour)), waits("waiting for it")),
		"highest_is_barred_and_nobody_else_does":     elected(all(for1, peer(func(s *Standing) { s.Position, s.Barred = 0x5000001, "its volume is full" }), free(24*time.Hour)), stuck("it cannot win: its volume is full")),
		"highest_is_barred_a_moment_ago":             elected(all(for1, peer(func(s *Standing) { s.Position, s.Barred = 0x5000001, "its volume is full" }), free(stuckFor-1)), waits("its volume is full")),
		"barred_one_has_more_and_is_not_needed":      elected(all(of(2, "pvc-a", "pvc-b"), peer(func(s *Standing) { s.Position, s.Barred = 0x5000001, "its volume is full" })), leads(4)),
		"leader_that_gave_up_has_more":               elected(all(for1, back(3, 0x5000001), func(f *Facts) { f.Election.Peers[1].Barred = "it gave the right up" }), leads(4)),
		"leader_that_gave_up_is_needed":              elected(all(for1, deaf, back(3, 0x5000001), func(f *Facts) { f.Election.Peers[0].Barred = "it gave the right up" }, free(24*time.Hour)), stuck("it gave the right up")),
		"higher_timeline_is_higher":                  elected(all(for1, own(onLine(2, 0x2F00000)), free(24*time.Hour)), waits("waiting for it")),
		"priority_decides_between_equals_only":       elected(all(for1, own(func(s *Standing) { s.Priority = 9 }), peer(position(0x5000001)), free(time.Hour)), waits("waiting for it")),
		"equals_follow_the_priority":                 elected(all(for1, peer(func(s *Standing) { s.Priority = 1 })), waits("is before")),
		"equal_with_priority_does_not_act":           elected(all(for1, peer(func(s *Standing) { s.Priority = 1 }), free(2*electionWait)), leads(4)),
		"equal_with_priority_is_barred":              elected(all(for1, peer(func(s *Standing) { s.Priority, s.Barred = 1, "its pod ends" })), leads(4)),
		"own_bar_counts":                             elected(all(for1, own(func(s *Standing) { s.Barred = "it never leads" }), free(time.Hour)), waits("cannot win: it never leads")),
		"own_pod_ends":                               elected(all(for1, func(f *Facts) { f.Draining = true }, free(time.Hour)), waits("this pod ends")),
		"nothing_may_be_lost_is_no_matter_of_maxLag": elected(all(for1, own(position(0x100)), peer(position(0x100)), func(f *Facts) { f.Store.Record.Opened = 0 }), leads(4)),

		"leader_heard_again_suffices":              elected(all(for1, deaf, back(3, 0x5000000)), leads(4)),
		"leader_heard_again_has_more":              elected(all(for1, deaf, back(3, 0x5000001), free(time.Hour)), waits("a-replica-1 has a higher position")),
		"leader_set_back_proves_nothing":           elected(all(for1, deaf, back(3, 0x4FFFFFF), free(time.Hour)), stuck("must be heard")),
		"leader_set_back_to_an_older_timeline":     elected(all(for1, deaf, back(2, 0x2000000), free(time.Hour)), stuck("must be heard")),
		"leader_set_back_and_the_record_is_behind": elected(all(for1, deaf, func(f *Facts) { f.Store.Record.LSN = 0x2000000 }, back(2, 0x2800000), free(time.Hour)), stuck("must be heard")),
		"leader_set_back_at_an_unopened_reign":     elected(all(for1, deaf, func(f *Facts) { f.Store.Record.Timeline = 4 }, back(3, 0x4FFFFFF), free(time.Hour)), want{role: grant.Replica, epoch: at(3), line: 4, person: true, says: "must be heard"}),
		"leader_that_never_opened_is_as_it_was":    elected(all(for1, deaf, func(f *Facts) { f.Store.Record.Timeline = 4 }, back(3, 0x5000000)), leads(5)),

		"set_smaller_than_k_proves_nothing": elected(all(of(2, "pvc-b"), deaf, free(time.Hour)), stuck("must be heard")),
		"empty_set_proves_nothing":          elected(all(of(1), free(time.Hour)), stuck("must be heard")),
		"k_of_0_only_the_leader_knows":      elected(all(of(0), free(time.Hour)), stuck("must be heard")),
	})
}

// Rule 10 by itself: for every set of up to five members, every k and every part of the members that is heard, an election happens if and
// only if any k members that acknowledged a commit must have one among those heard.
func TestEveryAcknowledgementMeetsEveryElection(t *testing.T) {
	ids := []string{"pvc-a", "pvc-b", "pvc-d", "pvc-e", "pvc-f"}
	n := 0
	for size := 1; size <= len(ids); size++ {
		for k := 1; k <= size; k++ {
			for heard := range 1 << len(ids) {
				if heard&1 == 0 {
					continue // this member hears itself
				}
				f := orphaned()
				f.Store.Record.Members = []record.Member{{ID: "pvc-c", Pod: "c"}}
				f.Election.Peers, f.Election.For = nil, 24*time.Hour
				synchronous(&f, k, ids[:size]...)
				for i, id := range ids {
					f.Store.Record.Members = append(f.Store.Record.Members, record.Member{ID: id, Pod: id})
					if i > 0 && heard>>i&1 == 1 {
						f.Election.Peers = append(f.Election.Peers, standing(id, id))
					}
				}
				missed := false // some k acknowledgers, none of whom is heard
				for acknowledged := range 1 << size {
					missed = missed || ones(acknowledged) == k && acknowledged&heard == 0
				}
				v := Judge(f)
				if elected := v.Do == Take; elected == missed {
					t.Errorf("k %d of %d, heard %05b: elected %v, a commit may be missed %v: %s", k, size, heard, elected, missed, v.Reason)
				}
				n++
			}
		}
	}
	if n != 16*15 {
		t.Errorf("judged %d elections", n)
	}
}

func ones(bits int) (n int) {
	for ; bits != 0; bits &= bits - 1 {
		n++
	}
	return n
}

// Whatever the members' positions, at most one of those that hear each other is elected at once, and in synchronous mode only one that
// nobody heard has more than.
func TestAtMostOneIsElectedAtOnce(t *testing.T) {
	ids := []string{"pvc-a", "pvc-b", "pvc-c"}
	places := []func(*Standing){onLine(3, 0x5000000), onLine(3, 0x5000001), onLine(2, 0x2F00000), onLine(2, 0x3000001), onLine(4, 0x10), unknown}
	for _, k := range []int{0, 1, 2} {
		for n := range len(places) * len(places) * len(places) * 8 {
			standings := make([]Standing, len(ids))
			for i, id := range ids {
				standings[i] = standing(id, id)
			}
			rest := n
			for i := range ids {
				places[rest%len(places)](&standings[i])
				rest /= len(places)
			}
			for i := range ids {
				standings[i].Priority = rest >> i & 1
			}
			var winners []string
			for i, id := range ids {
				f := orphaned()
				f.Store.Record.LSN, f.Election.MaxLag = 0x1000000, 1<<30
				f.Me.Member, f.Local.State.Volume.Noted, f.Local.Standing = id, id, standings[i]
				f.Election.Peers = nil
				for j := range ids {
					if j != i {
						f.Election.Peers = append(f.Election.Peers, standings[j])
					}
				}
				synchronous(&f, k, "pvc-a", "pvc-b")
				v := Judge(f)
				if v.Do != Take {
					continue
				}
				winners = append(winners, id)
				for _, s := range standings {
					if k > 0 && counts(s, f.Store.Record) && astray(s, f.Store.Record) == "" && byPosition(s, standings[i]) < 0 {
						t.Errorf("k %d: %s wins although %s has more: %+v", k, id, s.Member, standings)
					}
				}
			}
			if len(winners) > 1 {
				t.Fatalf("k %d: %v all take the record at once: %s", k, winners, fmt.Sprint(standings))
			}
		}
	}
}
