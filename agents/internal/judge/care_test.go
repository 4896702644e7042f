package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// ill is a leader in force whose server crashed a moment ago after it wrote, with 10 MiB to redo, and two members that could lead: one that has
// everything, and one that lacks 1 MiB.
func ill() Condition {
	redo := int64(10 << 20)
	r := recordOf(me)
	r.Members = append(r.Members, record.Member{ID: "pvc-c", Pod: "a-replica-1"})
	return Condition{
		Pod: "a-primary-0", Member: "pvc-a", Leads: true, Heard: true, Stored: true, Wrote: true, Unwritable: time.Second, Redo: &redo, Rate: 10 << 20,
		End: 0x5000080, Record: r,
		Reliefs: []Relief{
			{Member: "pvc-b", Pod: "a-replica-0", Heard: true, Reached: 0x4F00000},
			{Member: "pvc-c", Pod: "a-replica-1", Heard: true, Reached: 0x5000080},
		},
		Limits: Limits{Promote: time.Minute, Recovery: 5 * time.Minute, Hang: 30 * time.Second, MaxLag: 16 << 20},
	}
}

func TestCareOfALeadersServer(t *testing.T) {
	type want struct {
		giveUp, kill, person, readOnly bool
		says                           string
	}
	stays := func(says string) want { return want{says: says} }
	told := func(says string) want { return want{person: true, says: says} }
	gives := func(says string) want { return want{giveUp: true, says: says} }
	kills := func(says string) want { return want{giveUp: true, kill: true, says: says} }
	redo := func(mib int64) func(*Condition) {
		return func(c *Condition) { n := mib << 20; c.Redo = &n }
	}
	elected := func(c *Condition) { c.Wrote, c.Redo, c.End = false, nil, 0 }
	writes := func(c *Condition) { c.Writes, c.Unwritable, c.Redo, c.End = true, 0, nil, 0 }
	out := func(d time.Duration) func(*Condition) { return func(c *Condition) { c.Unwritable = d } }
	mute := func(d time.Duration) func(*Condition) { return func(c *Condition) { c.Mute = d } }
	stuck := func(d time.Duration) func(*Condition) { return func(c *Condition) { c.Stuck = d } }
	alone := func(c *Condition) { c.Reliefs = nil }
	behind := func(c *Condition) {
		for i := range c.Reliefs {
			c.Reliefs[i].Reached = 0x4F00000
		}
	}
	unfit := func(c *Condition) {
		for i := range c.Reliefs {
			c.Reliefs[i].Problem = "its volume is full"
		}
	}
	sync := func(k int, set ...string) func(*Condition) {
		return func(c *Condition) { c.Record.Sync = &record.Sync{K: k, Members: set} }
	}
	full := func(c *Condition) { c.Full = "its volume is full" }
	reads := func(says string) want { return want{person: true, readOnly: true, says: says} }
	for name, tt := range map[string]struct {
		change []func(*Condition)
		want   want
	}{
		"volume_full_and_another_has_room":   {[]func(*Condition){writes, full}, gives("could lead")},
		"all_volumes_full":                   {[]func(*Condition){writes, full, unfit}, reads("a-replica-0: its volume is full")},
		"volume_full_and_nobody_else":        {[]func(*Condition){writes, full, alone}, reads("there is no other member")},
		"volume_full_while_paused":           {[]func(*Condition){writes, full, func(c *Condition) { c.PauseLeft = 1 }}, reads("not now")},
		"volume_full_and_given_up_twice":     {[]func(*Condition){writes, full, func(c *Condition) { c.Record.GivenUp = make([]record.Duration, 2) }}, reads("not now")},
		"volume_full_and_the_server_crashed": {[]func(*Condition){full, unfit, out(time.Hour)}, reads("until there is room")},
		"volume_full_and_hung":               {[]func(*Condition){writes, full, stuck(time.Hour)}, kills("small write")},
		"read_only_server_is_not_mute":       {[]func(*Condition){full, unfit, mute(time.Hour)}, reads("until there is room")},
		"well":                               {[]func(*Condition){writes}, stays("")},
		"right_not_in_force":                 {[]func(*Condition){elected, out(time.Hour), func(c *Condition) { c.Leads = false }}, stays("")},
		"guard_is_not_heard":                 {[]func(*Condition){elected, out(time.Hour), func(c *Condition) { c.Heard = false }}, stays("")},
		"hung_but_guard_unheard":             {[]func(*Condition){writes, mute(time.Hour), stuck(time.Hour), func(c *Condition) { c.Heard = false }}, stays("")},

		"guard_is_not_heard_for_long": {[]func(*Condition){writes, func(c *Condition) { c.Heard, c.Unheard = false, time.Minute }}, told("look at the server's container")},

		"elected_a_moment_ago":                     {[]func(*Condition){elected, out(59 * time.Second)}, stays("")},
		"never_promoted":                           {[]func(*Condition){elected, out(time.Minute)}, gives("promoteTimeout")},
		"never_promoted_and_the_disk_holds_more":   {[]func(*Condition){elected, out(time.Hour), behind, func(c *Condition) { c.End = 0x9000000 }}, told("lacks more than may be lost")},
		"never_promoted_while_the_api_is_away":     {[]func(*Condition){elected, out(time.Hour), func(c *Condition) { c.Stored = false }}, told("takes no writes")},
		"never_promoted_and_nobody_else":           {[]func(*Condition){elected, out(time.Hour), alone}, told("there is no other member")},
		"never_promoted_and_nobody_fit":            {[]func(*Condition){elected, out(time.Hour), unfit}, told("a-replica-0: its volume is full")},
		"never_promoted_and_others_lag":            {[]func(*Condition){elected, out(time.Hour), func(c *Condition) { behind(c); c.Record.LSN = 0x9000000 }}, told("lacks more than may be lost")},
		"never_promoted_while_paused":              {[]func(*Condition){elected, out(time.Hour), func(c *Condition) { c.PauseLeft = 1 }}, told("paused")},
		"given_up_once_lately":                     {[]func(*Condition){elected, out(time.Hour), func(c *Condition) { c.Record.GivenUp = make([]record.Duration, 1) }}, gives("could lead")},
		"given_up_twice_lately":                    {[]func(*Condition){elected, out(time.Hour), func(c *Condition) { c.Record.GivenUp = make([]record.Duration, 2) }}, told("given up 2 times")},
		"synchronous_and_enough_would_vote":        {[]func(*Condition){elected, out(time.Hour), sync(1, "pvc-b", "pvc-c")}, gives("could lead")},
		"synchronous_and_one_voter_missing":        {[]func(*Condition){elected, out(time.Hour), sync(1, "pvc-b", "pvc-c"), func(c *Condition) { c.Reliefs[0].Heard = false }}, told("must be heard")},
		"synchronous_and_nobody_else_has_all":      {[]func(*Condition){elected, out(time.Hour), sync(0)}, told("only this member")},
		"synchronous_winner_may_lack_bytes":        {[]func(*Condition){elected, out(time.Hour), sync(1, "pvc-b", "pvc-c"), func(c *Condition) { behind(c); c.Record.LSN = 0x9000000 }}, gives("could lead")},
		"barred_voter_counts_and_another_can_lead": {[]func(*Condition){elected, out(time.Hour), sync(1, "pvc-b", "pvc-c"), func(c *Condition) { c.Reliefs[0].Problem = "it never leads" }}, gives("a-replica-1 could lead")},

		"crash_with_little_redo":                      {nil, stays("restarted in place")},
		"crash_with_little_redo_never_comes_back":     {[]func(*Condition){out(time.Minute)}, gives("promoteTimeout")},
		"shut_down_to_be_started_again":               {[]func(*Condition){redo(0)}, stays("")},
		"shut_down_and_never_started_again":           {[]func(*Condition){redo(0), out(time.Minute)}, gives("promoteTimeout")},
		"crash_with_unknown_redo":                     {[]func(*Condition){func(c *Condition) { c.Redo = nil }}, stays("not known")},
		"crash_with_unknown_redo_never_comes_back":    {[]func(*Condition){out(time.Minute), func(c *Condition) { c.Redo = nil }}, gives("not come back")},
		"crash_with_unknown_rate":                     {[]func(*Condition){redo(1 << 20), func(c *Condition) { c.Rate = 0 }}, stays("not known")},
		"long_recovery_and_a_member_that_has_all":     {[]func(*Condition){redo(600)}, gives("a-replica-1 lacks nothing")},
		"long_recovery_and_no_member_has_all":         {[]func(*Condition){redo(600), behind}, stays("restarted in place")},
		"long_recovery_and_the_end_is_not_known":      {[]func(*Condition){redo(600), func(c *Condition) { c.End = 0 }}, stays("restarted in place")},
		"long_recovery_synchronous":                   {[]func(*Condition){redo(600), behind, sync(1, "pvc-b", "pvc-c")}, gives("lacks nothing")},
		"long_recovery_synchronous_voter_missing":     {[]func(*Condition){redo(600), sync(1, "pvc-b", "pvc-c"), func(c *Condition) { c.Reliefs[0].Heard = false }}, stays("restarted in place")},
		"long_recovery_nobody_else":                   {[]func(*Condition){redo(600), alone}, stays("restarted in place")},
		"long_recovery_while_paused":                  {[]func(*Condition){redo(600), func(c *Condition) { c.PauseLeft = 1 }}, stays("restarted in place")},
		"longer_than_allowed_loses_what_is_allowed":   {[]func(*Condition){redo(10000), behind}, gives("maxCrashRecovery")},
		"longer_than_allowed_and_more_would_be_lost":  {[]func(*Condition){redo(10000), func(c *Condition) { behind(c); c.Record.LSN = 0x9000000 }}, stays("restarted in place")},
		"longer_than_allowed_while_the_api_is_away":   {[]func(*Condition){redo(10000), behind, func(c *Condition) { c.Stored = false }}, stays("restarted in place")},
		"longer_than_allowed_and_the_disk_holds_more": {[]func(*Condition){redo(10000), behind, func(c *Condition) { c.End = 0x9000000 }}, stays("restarted in place")},
		"recovery_is_slower_than_expected":            {[]func(*Condition){redo(600), behind, out(4 * time.Minute)}, stays("restarted in place")},
		"recovery_has_taken_all_it_may":               {[]func(*Condition){redo(600), behind, out(5 * time.Minute)}, gives("maxCrashRecovery")},
		"recovery_has_taken_all_it_may_nobody_else":   {[]func(*Condition){redo(600), alone, out(5 * time.Minute)}, told("goes on trying")},
		"server_answers_nobody_for_a_moment":          {[]func(*Condition){writes, mute(29 * time.Second)}, stays("")},
		"server_answers_nobody":                       {[]func(*Condition){writes, mute(30 * time.Second)}, kills("answered nobody")},
		"server_answers_nobody_and_nobody_else":       {[]func(*Condition){writes, mute(time.Hour), alone}, told("there is no other member")},
		"starting_server_that_is_silent_is_not_hung":  {[]func(*Condition){mute(time.Hour)}, stays("restarted in place")},
		"volume_is_slow":                              {[]func(*Condition){writes, stuck(29 * time.Second)}, stays("")},
		"volume_hangs":                                {[]func(*Condition){writes, stuck(30 * time.Second)}, kills("volume")},
		"volume_hangs_with_no_server":                 {[]func(*Condition){elected, stuck(30 * time.Second)}, kills("volume")},
		"volumes_of_all_hang":                         {[]func(*Condition){writes, stuck(time.Hour), func(c *Condition) { unfit(c); c.Reliefs[1].Problem = "its volume does not answer" }}, told("a-replica-1: its volume does not answer")},
		"volume_hangs_after_two_others_have_given_up": {[]func(*Condition){writes, stuck(time.Hour), func(c *Condition) { c.Record.GivenUp = make([]record.Duration, 2) }}, told("in common")},
	} {
		t.Run(name, func(t *testing.T) {
			c := ill()
			for _, change := range tt.change {
				change(&c)
			}
			got := Care(c)
			if got.GiveUp != tt.want.giveUp || got.Kill != tt.want.kill || got.Person != tt.want.person || got.ReadOnly != tt.want.readOnly || !strings.Contains(got.Reason, tt.want.says) || tt.want.says == "" && got.Reason != "" {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if got.GiveUp && (got.Cause == "" || got.Heir == "") || (got.GiveUp || got.Person) && got.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}
