package guarding

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

const fresh = 6 * time.Second

var (
	start = boottime.Instant(1e12)
	first = Reign{Epoch: epoch.Epoch{Local: 1}, Timeline: 1}
	third = Reign{Epoch: epoch.Epoch{Local: 3}, Timeline: 3}
	fifth = Reign{Epoch: epoch.Epoch{Local: 5}, Timeline: 7}
	leo   = grant.Upstream{Member: "v1", Name: "db-0", Host: "db-0.db", Address: "10.0.0.1", Port: 5432}
	mia   = grant.Upstream{Member: "v2", Name: "db-1", Host: "db-1.db", Address: "10.0.0.2", Port: 5432}
)

func toPrimary(r Reign, left time.Duration) *grant.Grant {
	return &grant.Grant{Role: grant.Primary, Epoch: r.Epoch, Timeline: r.Timeline, Deadline: start.Add(left), Reason: "holds the lease", SystemID: "77"}
}

func toReplica(of *grant.Upstream) *grant.Grant {
	return &grant.Grant{Role: grant.Replica, Upstream: of, Slot: "s", SyncName: "n", Reason: "follows"}
}

// waiting is a grant that says whom commits wait for.
func waiting(g *grant.Grant, s grant.Sync) *grant.Grant {
	g.Sync = &s
	return g
}

func to(r grant.Role) *grant.Grant { return &grant.Grant{Role: r, Reason: "keeper says so"} }

func down(g *grant.Grant) Facts { return Facts{Server: grant.Down, Grant: g} }

func standby(g *grant.Grant) Facts {
	return Facts{Server: grant.Standby, Grant: g, Ready: true, Signal: true, SystemID: "77", Following: FollowingOf(*toReplica(&leo))}
}

func writable(g *grant.Grant) Facts {
	return Facts{Server: grant.Writable, Grant: g, Ready: true, Reign: third, SystemID: "77"}
}

func promoting(g *grant.Grant) Facts {
	f := writable(g)
	f.Server, f.Signal = grant.Promoting, true
	return f
}

func with(f Facts, change func(*Facts)) Facts {
	change(&f)
	return f
}

func TestNext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		facts  Facts
		want   Action
		reason string // part of it
	}{
		// No server.
		{"down_without_a_grant_waits", down(nil), Stay, "first grant"},
		{"down_told_to_wait", down(to(grant.Wait)), Stay, "keeper says so"},
		{"down_told_to_stop_stays_down", down(to(grant.Stop)), Stay, "stays down"},
		{"down_replica_starts", down(toReplica(&leo)), Start, "follows"},
		{"down_replica_of_nobody_starts", down(toReplica(nil)), Start, "follows"},
		{"down_primary_starts", down(toPrimary(third, fresh)), Start, "holds the lease"},
		{"down_primary_with_little_time_starts", down(toPrimary(third, time.Millisecond)), Start, ""},
		{"down_primary_whose_grant_ends_now_waits", down(toPrimary(third, 0)), Stay, "has run out"},
		{"down_primary_whose_grant_ended_waits", down(toPrimary(third, -time.Hour)), Stay, "has run out"},
		{"failed_start_pauses", with(down(toReplica(&leo)), func(f *Facts) { f.Retry = start + 1 }), Stay, "next try"},
		{"pause_that_is_over", with(down(toReplica(&leo)), func(f *Facts) { f.Retry = start }), Start, ""},
		{"down_and_told_to_end_leaves", with(down(toReplica(&leo)), func(f *Facts) { f.Terminating = true }), Leave, ""},
		{"down_without_a_grant_and_told_to_end_leaves", with(down(nil), func(f *Facts) { f.Terminating = true }), Leave, ""},

		{"shutdown_called_off_starts_anew", with(writable(toPrimary(third, fresh)), func(f *Facts) { f.Stopping = true }), Fence, "called off"},
		{"shutdown_called_off_for_another_reign_goes_on", with(writable(toPrimary(fifth, fresh)), func(f *Facts) { f.Stopping = true }), Stay, "shutting down"},
		{"shutdown_called_off_too_late_goes_on", with(writable(toPrimary(third, 0)), func(f *Facts) { f.Stopping = true }), Stay, "shutting down"},
		{"shutdown_of_a_standby_is_not_called_off", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.Stopping = true }), Stay, "shutting down"},
		{"ending_container_goes_on_shutting_down", with(writable(toPrimary(third, fresh)), func(f *Facts) { f.Stopping, f.Terminating = true, true }), Stay, "shutting down"},

		// A standby.
		{"standby_without_a_grant_goes_on", standby(nil), Stay, "no grant"},
		{"standby_told_to_wait_goes_on", standby(to(grant.Wait)), Stay, ""},
		{"standby_that_follows_goes_on", standby(toReplica(&leo)), Stay, ""},
		{"standby_of_another_upstream_follows", standby(toReplica(&mia)), Follow, ""},
		{"voting_standby_lets_go_of_its_upstream", standby(toReplica(nil)), Follow, ""},
		{"standby_with_another_slot_follows", standby(func() *grant.Grant { g := toReplica(&leo); g.Slot = "t"; return g }()), Follow, ""},
		{"standby_under_another_name_follows", standby(func() *grant.Grant { g := toReplica(&leo); g.SyncName = "t"; return g }()), Follow, ""},
		{"standby_in_recovery_follows_too", with(standby(toReplica(&mia)), func(f *Facts) { f.Ready = false }), Follow, ""},
		{"standby_told_to_stop", standby(to(grant.Stop)), Stop, "keeper says so"},
		{"standby_is_promoted", standby(toPrimary(third, fresh)), Promote, "holds the lease"},
		{"standby_with_exactly_half_the_time_is_promoted", standby(toPrimary(third, fresh/2)), Promote, ""},
		{"standby_with_less_than_half_the_time_is_not", standby(toPrimary(third, fresh/2-1)), Stay, "less left than half"},
		{"standby_whose_grant_ended_is_not_promoted_and_not_killed", standby(toPrimary(third, -1)), Stay, "has run out"},
		{"standby_in_recovery_is_not_promoted_yet", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.Ready = false }), Stay, "as soon as"},
		{"standby_of_another_database_is_not_promoted", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.SystemID = "78" }), Stay, "database 77"},
		{"first_primary_of_an_unreported_database_is_promoted", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.Grant.SystemID = "" }), Promote, ""},
		{"promotion_that_was_given_up_pauses", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.Hold, f.HoldUntil = "no space left", start+1 }), Stay, "no space left"},
		{"promotion_that_was_given_up_is_tried_again", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.Hold, f.HoldUntil = "no space left", start }), Promote, ""},
		{"promotion_is_not_tried_again_without_time", with(standby(toPrimary(third, fresh/2-1)), func(f *Facts) { f.Hold, f.HoldUntil = "no space left", start }), Stay, "less left than half"},
		{"standby_promoted_by_hand_is_killed", with(standby(toReplica(&leo)), func(f *Facts) { f.Signal = false }), Fence, "somebody else"},
		{"standby_promoted_by_hand_without_a_grant_is_killed", with(standby(nil), func(f *Facts) { f.Signal = false }), Fence, "somebody else"},
		{"standby_promoted_by_hand_is_not_legalised_by_a_grant", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.Signal = false }), Fence, ""},

		{"standby_takes_the_list_that_nobody_can_meet_before_it_is_promoted", standby(waiting(toPrimary(third, fresh), grant.Sync{K: 1})), Follow, ""},
		{"standby_that_has_it_is_promoted", with(standby(waiting(toPrimary(third, fresh), grant.Sync{K: 1})), func(f *Facts) { f.Following.Waits = grant.Sync{K: 1}.Names() }), Promote, ""},
		{"asynchronous_standby_is_promoted_at_once", standby(waiting(toPrimary(third, fresh), grant.Sync{})), Promote, ""},
		{"standby_of_synchronous_mode_takes_the_list", standby(waiting(toReplica(&leo), grant.Sync{K: 1})), Follow, ""},

		// A primary, or one that was told to become it.
		{"primary_that_waits_for_another_set_follows", writable(waiting(toPrimary(third, fresh), grant.Sync{K: 1, Members: []string{"b"}})), Follow, ""},
		{"primary_that_waits_for_this_set_goes_on", with(writable(waiting(toPrimary(third, fresh), grant.Sync{K: 1, Members: []string{"b"}})), func(f *Facts) { f.Following.Waits = `ANY 1 ("pgspan_b")` }), Stay, ""},
		{"promotion_comes_before_the_list", promoting(waiting(toPrimary(third, fresh), grant.Sync{K: 1, Members: []string{"b"}})), Stay, ""},
		{"primary_goes_on", writable(toPrimary(third, fresh)), Stay, ""},
		{"primary_whose_grant_ended_is_left_to_the_fence", writable(toPrimary(third, -time.Second)), Stay, ""},
		{"primary_without_a_grant_is_left_to_the_fence", writable(nil), Stay, "no grant"},
		{"primary_told_to_wait_stops", writable(to(grant.Wait)), Stop, "to wait"},
		{"primary_told_to_follow_stops", writable(toReplica(&leo)), Stop, "to replica"},
		{"primary_told_to_stop", writable(to(grant.Stop)), Stop, "to stop"},
		{"primary_of_an_older_epoch_stops", writable(toPrimary(fifth, fresh)), Stop, "epoch 0.5"},
		{"primary_on_another_timeline_stops", writable(toPrimary(Reign{Epoch: third.Epoch, Timeline: 4}, fresh)), Stop, "timeline 4"},
		{"grant_of_an_older_epoch_counts_as_none", writable(toPrimary(first, fresh)), Stay, "counts as none"},
		{"promoting_goes_on", promoting(toPrimary(third, fresh)), Stay, ""},
		{"promoting_is_not_promoted_again", promoting(toPrimary(third, fresh/4)), Stay, ""},
		{"promoting_told_to_follow_stops", promoting(toReplica(&leo)), Stop, ""},
		{"promoting_told_to_wait_stops", promoting(to(grant.Wait)), Stop, ""},

		// Shutting down.
		{"stopping_standby_is_not_promoted", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.Stopping = true }), Stay, "shutting down"},
		{"shutdown_that_takes_too_long_is_cut_short", with(writable(to(grant.Stop)), func(f *Facts) { f.Stopping, f.Overdue = true, true }), Fence, "longer"},
		{"container_ends_primary", with(writable(toPrimary(third, fresh)), func(f *Facts) { f.Terminating = true }), Stop, "container"},
		{"container_ends_standby", with(standby(toReplica(&leo)), func(f *Facts) { f.Terminating = true }), Stop, "container"},
		{"container_ends_standby_that_was_to_be_promoted", with(standby(toPrimary(third, fresh)), func(f *Facts) { f.Terminating = true }), Stop, "container"},
		{"container_ends_while_stopping", with(standby(to(grant.Stop)), func(f *Facts) { f.Stopping, f.Terminating = true, true }), Stay, "shutting down"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.facts.Now, tt.facts.FenceAfter = start, fresh
			got, reason := Next(tt.facts)
			if got != tt.want {
				t.Errorf("got %s (%s), want %s", got, reason, tt.want)
			}
			if !strings.Contains(reason, tt.reason) {
				t.Errorf("reason is %q, want it to have %q", reason, tt.reason)
			}
		})
	}
}

// Whatever the grant, a standby is never promoted by anything but a grant to be primary, and a primary never lives on under another one.
func TestNextHoldsForEveryGrantAndServer(t *testing.T) {
	grants := []*grant.Grant{nil, to(grant.Wait), to(grant.Stop), toReplica(nil), toReplica(&leo), toPrimary(first, fresh), toPrimary(third, fresh), toPrimary(fifth, fresh), toPrimary(third, -1), toPrimary(fifth, time.Second)}
	for _, g := range grants {
		for _, base := range []Facts{down(g), standby(g), promoting(g), writable(g)} {
			for bits := range 32 {
				f := base
				f.Now, f.FenceAfter = start, fresh
				f.Ready, f.Signal = bits&1 != 0, bits&2 != 0
				f.Terminating, f.Stopping, f.Overdue = bits&4 != 0, bits&8 != 0, bits&16 != 0
				got, reason := Next(f)
				isPrimary := g != nil && g.Role == grant.Primary
				if got == Promote && (!isPrimary || f.Server != grant.Standby || !g.Valid(grant.Incarnation{}, f.Now) || f.Terminating || f.Stopping) {
					t.Errorf("%+v is promoted: %s", f, reason)
				}
				if got == Start && (f.Server != grant.Down || g == nil || f.Terminating) {
					t.Errorf("%+v is started: %s", f, reason)
				}
				lives := f.Server == grant.Promoting || f.Server == grant.Writable
				if lives && g != nil && !isPrimary && !f.Stopping && got != Stop {
					t.Errorf("%+v goes on as a primary (%s) under a grant to %s", f, got, g.Role)
				}
				if f.Server != grant.Down && (got == Start || got == Leave) {
					t.Errorf("%+v: %s with a server running", f, got)
				}
			}
		}
	}
}

func TestPause(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 0, 1: 0, 2: time.Second, 3: 2 * time.Second, 6: 16 * time.Second, 7: 30 * time.Second, 1000: 30 * time.Second} {
		if got := pause(failures); got != want {
			t.Errorf("after %d failures: got %v, want %v", failures, got, want)
		}
	}
}
