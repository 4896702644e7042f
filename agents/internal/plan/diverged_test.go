package plan

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// lost is the directory of the primary of timeline 3, crashed at 0x3500, whose leader on timeline 5 has left that timeline at 0x3000.
func lost() Facts {
	f := full()
	f.Data.StandbySignal, f.Data.HighestHistory = false, 3
	f.Data.Control.Timeline, f.Data.Control.State, f.Data.Control.Checkpoint = 3, "in production", 0x2800
	f.Note.Primary, f.Note.PrimaryLine, f.Note.HighestEpoch, f.Note.Started = at(0, 3), 3, at(0, 3), notes.AsPrimary
	f.WAL = &pgdata.WAL{Timeline: 3, Lines: past(3), End: 0x3500, Exact: true}
	f.Grant.Epoch, f.Grant.Timeline, f.Grant.MayRewind, f.Grant.MaxDiscard = at(0, 4), 5, true, 0x500
	// 4 was reserved and never followed.
	f.Grant.Lines = append(past(3), timeline.Line{Timeline: 3, End: 0x3000})
	return f
}

func ends(at lsn.LSN) func(*Facts) { return func(f *Facts) { f.WAL.End = at } }

func TestDiverged(t *testing.T) {
	run(t, map[string]judged{
		"past_the_fork":              {lost, nil, Rewind, "holds 1280 bytes of WAL past the fork from db-primary-0 at 0/3000 on timeline 3"},
		"at_the_fork":                {lost, ends(0x3000), Keep, ""},
		"before_the_fork":            {lost, ends(0x2fff), Keep, ""},
		"one_byte_past_the_fork":     {lost, ends(0x3001), Rewind, "holds 1 bytes"},
		"as_much_as_may_be_given_up": {lost, ends(0x3500), Rewind, ""},
		"more_than_may_be_given_up":  {lost, ends(0x3501), Refuse, "set failover.maxAutoDiscard to 1281 or more"},
		"nothing_may_be_given_up":    {lost, func(f *Facts) { f.Grant.MaxDiscard = 0 }, Refuse, "gives up no more than 0"},
		"keeper_does_not_allow_it":   {lost, func(f *Facts) { f.Grant.MayRewind = false }, Refuse, "keeper does not allow a rewind"},
		"far_back": {lost, func(f *Facts) {
			f.Grant.Lines = []timeline.Line{{Timeline: 1, End: 0x800}}
			f.Grant.MaxDiscard = 1 << 20
		}, Rewind, "11520 bytes of WAL past the fork from db-primary-0 at 0/800 on timeline 1"},
		"nothing_in_common":             {lost, func(f *Facts) { f.Grant.Lines = []timeline.Line{{Timeline: 2, End: 0x1000}} }, Refuse, "nothing in common"},
		"leader_history_not_told":       {lost, func(f *Facts) { f.Grant.Lines = nil }, Wait, "not known yet how timeline 5"},
		"end_not_known":                 {lost, func(f *Facts) { f.WAL, f.WALProblem = nil, "input/output error" }, Wait, "input/output error"},
		"end_is_a_lower_bound":          {lost, func(f *Facts) { f.WAL.Exact = false }, Rewind, "at least 1280 bytes"},
		"own_history_is_gone":           {lost, func(f *Facts) { f.WAL.Lines, f.WAL.HistoryMissing = nil, true }, Refuse, "the file that tells how that timeline came about is gone"},
		"own_history_is_gone_and_is_on": {lost, func(f *Facts) { f.WAL.Lines, f.WAL.HistoryMissing, f.WAL.End = nil, true, 0x3000 }, Keep, ""},
		"no_pg_rewind":                  {lost, func(f *Facts) { delete(f.Tools.Path, pgtools.Rewind) }, Refuse, "the image has no pg_rewind in /usr/lib/postgresql/17/bin"},
		"no_psql":                       {lost, func(f *Facts) { delete(f.Tools.Path, pgtools.Psql) }, Refuse, "the image has no psql"},
		"neither_checksums_nor_hints":   {lost, func(f *Facts) { f.Data.Control.Checksums = false }, Refuse, "both were off"},
		"hints_without_checksums":       {lost, func(f *Facts) { f.Data.Control.Checksums, f.Data.Control.LogHints = false, true }, Rewind, ""},
		"on_a_line_beside_the_leader's": {lost, func(f *Facts) {
			f.Data.Control.Timeline, f.Data.HighestHistory, f.Note.PrimaryLine = 4, 4, 4
			f.WAL.Timeline, f.WAL.Lines = 4, append(past(3), timeline.Line{Timeline: 3, End: 0x3000})
		}, Rewind, "1280 bytes of WAL past the fork from db-primary-0 at 0/3000 on timeline 3"},
		"same_number_of_another_reign": {lost, func(f *Facts) { f.Grant.Timeline = 3; f.Grant.Lines = past(3) }, Refuse, "has given the same number"},
		"same_number_that_began_elsewhere": {full, func(f *Facts) {
			f.Grant.MayRewind, f.Grant.MaxDiscard = true, 1<<20
			f.Grant.Lines = []timeline.Line{{Timeline: 1, End: 0x900}}
		}, Refuse, "they began in different places"},
		"follower_ahead_of_the_winner": {full, func(f *Facts) {
			f.Grant.Timeline, f.Grant.Lines, f.Grant.MayRewind, f.Grant.MaxDiscard = 3, append(past(2), timeline.Line{Timeline: 2, End: 0x2400}), true, 1<<20
		}, Rewind, "256 bytes"},
		"nobody_to_follow": {lost, func(f *Facts) { f.Grant.Upstream, f.Grant.Lines = nil, nil }, Keep, ""},
		"wins_instead":     {lost, func(f *Facts) { f.Grant.Role, f.Grant.Deadline, f.Grant.Upstream = grant.Primary, now+1, nil }, Keep, ""},
		"image_that_sorts_differently": {lost, func(f *Facts) {
			f.Note.Initdb = &notes.Initdb{LocaleProvider: "libc"}
			f.Tools.Libraries.LibcVersion = "2.36"
		}, Refuse, "2.36, was 2.41"},
		"newer_than_the_record":            {lost, func(f *Facts) { f.Grant.Timeline, f.Grant.Lines = 2, past(2) }, Refuse, "newer than the record's 2"},
		"epoch_of_the_record_is_an_older":  {lost, func(f *Facts) { f.Note.HighestEpoch = at(0, 9) }, Refuse, "has seen epoch 0.9"},
		"foreign_database_is_not_rewound":  {lost, func(f *Facts) { f.Grant.SystemID = foreign }, Refuse, "foreign database"},
		"its_epoch_is_led_by_another_name": {lost, func(f *Facts) { f.Grant.Epoch = at(0, 3) }, Refuse, "leads that epoch"},
	})
}

// opened is a standby of timeline 2 that somebody has promoted to timeline 3 at 0x2000, and that has written up to 0x2100.
func opened() Facts {
	f := full()
	handPromoted(&f)
	f.WAL = &pgdata.WAL{Timeline: 3, Lines: past(3), End: 0x2100, Exact: true}
	f.Grant.MayRewind, f.Grant.MaxDiscard = true, 0x1000
	return f
}

func TestOpenedByHand(t *testing.T) {
	run(t, map[string]judged{
		"leader_goes_on":                     {opened, nil, Rewind, "256 bytes of WAL past the fork from db-primary-0 at 0/2000 on timeline 2"},
		"too_much_was_written":               {opened, func(f *Facts) { f.Grant.MaxDiscard = 0xff }, Refuse, "gives up no more than 255"},
		"not_allowed":                        {opened, func(f *Facts) { f.Grant.MayRewind = false }, Refuse, "without a grant"},
		"number_is_the_leader's":             {opened, func(f *Facts) { f.Grant.Epoch, f.Grant.Timeline, f.Grant.Lines = at(0, 4), 3, past(3) }, Refuse, "a number that the record has given out as well"},
		"number_was_a_leader's":              {opened, func(f *Facts) { f.Grant.Epoch, f.Grant.Timeline, f.Grant.Lines = at(0, 5), 4, past(4) }, Refuse, "a number that the record has given out as well"},
		"number_was_passed_over":             {opened, func(f *Facts) { f.Grant.Epoch, f.Grant.Timeline, f.Grant.Lines = at(0, 5), 5, past(3)[:2] }, Rewind, "256 bytes"},
		"to_lead":                            {opened, func(f *Facts) { f.Grant.Role, f.Grant.Deadline, f.Grant.Upstream = grant.Primary, now+1, nil }, Refuse, "without a grant"},
		"begun_and_the_mark_is_gone":         {opened, func(f *Facts) { f.Journal = began(); f.Journal.ByHand, f.Data.StandbySignal = true, true }, Rewind, ""},
		"mark_is_the_recovery's_of_a_rewind": {lost, func(f *Facts) { f.Journal, f.Note.Started, f.Note.PrimaryLine = began(), notes.AsStandby, 0 }, Rewind, ""},
	})
}

func began() *notes.Entry { return entry(notes.StepRewind, notes.Began) }

func TestSettle(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Facts)
		want   Settle
	}{
		"crashed_primary":                    {func(*Facts) {}, SettleCrash},
		"crashed_while_shutting_down":        {func(f *Facts) { f.Data.Control.State = "shutting down" }, SettleCrash},
		"crashed_primary_told_to_be_standby": {func(f *Facts) { f.Data.StandbySignal = true }, SettleCrash},
		"primary_shut_down":                  {func(f *Facts) { f.Data.Control.State = "shut down" }, SettleNone},
		"killed_standby":                     {func(f *Facts) { f.Data.Control.State = pgdata.StateReplaying }, SettleReplay},
		"standby_shut_down_past_the_fork":    {func(f *Facts) { f.Data.Control.State, f.Data.Control.MinRecovery = pgdata.StateStandbyDown, 0x3100 }, SettleNone},
		"standby_shut_down_with_WAL_left":    {func(f *Facts) { f.Data.Control.State, f.Data.Control.MinRecovery = pgdata.StateStandbyDown, 0x3000 }, SettleReplay},
		"standby_shut_down_and_its_end_is_not_known": {func(f *Facts) {
			f.Data.Control.State, f.Data.Control.MinRecovery, f.WAL.Exact = pgdata.StateStandbyDown, 0x3100, false
		}, SettleReplay},
		"standby_that_has_just_been_replayed_to_its_end": {func(f *Facts) {
			f.Data.Control.State, f.Data.Control.MinRecovery, f.WAL.Exact, f.Settled = pgdata.StateStandbyDown, 0x3100, false, true
		}, SettleNone},
		"base_backup_that_was_never_started":  {func(f *Facts) { f.Data.BackupLabel = true }, SettleReplay},
		"base_backup_that_was_half_recovered": {func(f *Facts) { f.Data.Control.BackupStart = 1 }, SettleReplay},
	} {
		t.Run(name, func(t *testing.T) {
			f := lost()
			tc.change(&f)
			if got := Judge(f); got.Do != Rewind || got.Settle != tc.want {
				t.Errorf("got %s, %q; want a rewind, %q", got.Do, got.Settle, tc.want)
			}
		})
	}
}

// An open entry decides what becomes of the directory, whatever that looks like (SAFETY rule 16, D22).
func TestInterruptedRewind(t *testing.T) {
	open := func(e *notes.Entry, more ...func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			f.Journal, f.Grant.MayClone = e, true
			for _, m := range more {
				m(f)
			}
		}
	}
	half := entry(notes.StepRewind, notes.Rewriting)
	replace := func(stage string) *notes.Entry {
		e := entry(notes.StepClone, stage)
		e.Replaces = half.String()
		return e
	}
	beside := func(f *Facts) { f.NewData = true }
	old := func(f *Facts) { f.OldData = true }
	gone := func(f *Facts) { f.Data = pgdata.Facts{Empty: true} }
	unreadable := func(f *Facts) { f.Data.Major, f.Data.Version, f.Data.Control = 0, "", nil }
	run(t, map[string]judged{
		"prepared_only":                      {lost, open(began()), Rewind, "1280 bytes"},
		"prepared_only_and_is_to_lead":       {lost, open(began(), func(f *Facts) { f.Grant.Role, f.Grant.Deadline, f.Grant.Upstream = grant.Primary, now+1, nil }), Keep, ""},
		"prepared_only_and_is_to_vote":       {lost, open(began(), func(f *Facts) { f.Grant.Upstream = nil }), Keep, ""},
		"half_done":                          {full, open(half), Clone, "left half done by an interrupted step, rewind (rewriting"},
		"half_done_and_looks_like_a_primary": {primary, open(half), Refuse, "must be cloned"},
		"half_done_and_unreadable":           {full, open(half, unreadable), Clone, "left half done"},
		"half_done_and_may_not_clone":        {full, open(half, func(f *Facts) { f.Grant.MayClone = false }), Wait, "must be cloned"},
		"half_done_without_a_grant":          {full, open(half, func(f *Facts) { f.Grant = nil }), Wait, "not written a grant"},
		"half_done_and_nobody_leads":         {full, open(half, func(f *Facts) { f.Grant.Upstream = nil }), Wait, "nobody to clone from"},
		"half_done_on_a_copied_volume":       {full, open(half, func(f *Facts) { f.Note.Member = "pvc-2" }), Refuse, "it is a copy"},
		"done_and_not_closed":                {lost, open(entry(notes.StepRewind, notes.Complete)), Rewind, "finish the interrupted step rewind"},
		"done_of_another_member":             {lost, open(&notes.Entry{Step: notes.StepRewind, Stage: notes.Complete, Member: "pvc-2"}), Refuse, "this volume is a copy"},
		"clone_of_it_interrupted":            {full, open(replace(notes.Began), beside), Clone, "left half done by an interrupted step, rewind"},
		"clone_of_it_complete":               {full, open(replace(notes.Complete), beside), Clone, "finish"},
		"clone_of_it_complete_gave_way":      {full, open(replace(notes.Complete), beside, old, gone), Clone, "finish"},
		"clone_of_it_complete_in_place":      {full, open(replace(notes.Complete), old), Clone, "finish"},
		"clone_of_it_complete_and_lost":      {full, open(replace(notes.Complete), old, gone), Clone, "clone from"},
		"clone_of_it_complete_taken_away":    {full, open(replace(notes.Complete)), Refuse, "not those that the step leaves"},
		"clone_of_it_placed":                 {full, open(replace(notes.Placed), old), Clone, "finish"},
		"clone_of_it_placed_and_cleared":     {full, open(replace(notes.Placed)), Clone, "finish"},
		"clone_of_it_placed_and_taken_away":  {full, open(replace(notes.Placed), old, gone), Refuse, "not those that the step leaves"},
		"stage_of_a_newer_release":           {lost, open(entry(notes.StepRewind, "verified")), Refuse, "cannot finish"},
		"plain_clone_is_never_placed":        {full, open(entry(notes.StepClone, notes.Placed)), Refuse, "cannot finish"},
	})
	f := full()
	open(half)(&f)
	if p := Judge(f); !p.Replace {
		t.Errorf("the clone does not say that it replaces what is there: %+v", p)
	}
}
