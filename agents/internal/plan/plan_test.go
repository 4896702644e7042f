package plan

import (
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/settings"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

const (
	ours    = "7710770069818742159"
	foreign = "7000000000000000001"
	now     = 1000
)

func at(site, local uint64) epoch.Epoch { return epoch.Epoch{Site: site, Local: local} }

// full is a healthy replica of epoch 0.3 on timeline 2: the plan is to keep it.
func full() Facts {
	return Facts{
		Data: pgdata.Facts{
			Exists: true, Mode: 0o700, UID: 999, Major: 17, Version: "17", StandbySignal: true,
			Control: &pgdata.Control{SystemID: ours, State: "shut down in recovery", Timeline: 2, Checksums: true, WALSegment: 16 << 20},
		},
		Noted: true,
		Note: notes.Member{
			Member: "pvc-1", SystemID: ours, Major: 17, HighestEpoch: at(0, 3),
			Libraries: notes.Libraries{Libc: "glibc", LibcVersion: "2.41", ICU: "76"},
		},
		Grant: &grant.Grant{
			Format: 1, Seq: 9, Role: grant.Replica, Holder: grant.Incarnation{Member: "pvc-1", Pod: "pod-1", Boot: "boot-1"},
			Epoch: at(0, 3), Timeline: 2, SystemID: ours, Upstream: &grant.Upstream{Name: "db-primary-0"}, Lines: past(2),
		},
		Me: grant.Incarnation{Pod: "pod-1", Boot: "boot-1"}, Now: now,
		Settings: settings.Settings{Major: 17},
		Tools: pgtools.Tools{
			Dir: "/usr/lib/postgresql/17/bin", Major: 17,
			Path: map[string]string{
				pgtools.Postgres: "x", pgtools.Initdb: "x", pgtools.Basebackup: "x", pgtools.Controldata: "x", pgtools.Rewind: "x",
				pgtools.Waldump: "x", pgtools.Checksums: "x", pgtools.Isready: "x", pgtools.Psql: "x",
			},
			Libraries: notes.Libraries{Libc: "glibc", LibcVersion: "2.41", ICU: "76"},
		},
		UID: 999,
		WAL: &pgdata.WAL{Timeline: 2, Lines: past(2), End: 0x2500, Exact: true},
	}
}

// past is how a timeline came about where each was left at its number times 0x1000.
func past(line uint32) []timeline.Line {
	var lines []timeline.Line
	for n := uint32(1); n < line; n++ {
		lines = append(lines, timeline.Line{Timeline: n, End: lsn.LSN(n) * 0x1000})
	}
	return lines
}

// empty is a volume that was never used, of a member that may clone.
func empty() Facts {
	f := full()
	f.Data = pgdata.Facts{Empty: true}
	f.Noted, f.Note = false, notes.Member{}
	f.Grant.MayClone = true
	return f
}

// claimed is an empty volume whose member holds the claim to create the database.
func claimed() Facts {
	f := empty()
	f.Grant.Role, f.Grant.Deadline, f.Grant.Bootstrap, f.Grant.MayClone = grant.Primary, now+1, true, false
	f.Grant.SystemID, f.Grant.Upstream, f.Grant.Epoch, f.Grant.Timeline = "", nil, at(0, 1), 1
	return f
}

// primary is the leader's own directory after a crash.
func primary() Facts {
	f := full()
	f.Grant.Role, f.Grant.Deadline, f.Grant.Upstream = grant.Primary, now+1, nil
	f.Note.Primary, f.Note.PrimaryLine = at(0, 3), 2
	f.Data.StandbySignal, f.Data.Control.State = false, "in production"
	return f
}

func entry(step, stage string) *notes.Entry {
	return &notes.Entry{Format: 1, Step: step, Stage: stage, Member: "pvc-1", SystemID: ours}
}

// handPromoted is a replica on which somebody has called pg_promote().
func handPromoted(f *Facts) {
	f.Note.Started = notes.AsStandby
	f.Data.StandbySignal, f.Data.HighestHistory = false, 3
	f.Data.Control.Timeline, f.Data.Control.State = 3, "in production"
}

// unseen is the grant of a keeper that could not read the record.
func unseen(f *Facts) {
	f.Grant.Epoch, f.Grant.Timeline, f.Grant.SystemID, f.Grant.Upstream = epoch.Epoch{}, 0, "", nil
}

type judged struct {
	from   func() Facts
	change func(*Facts)
	do     Action
	// want must be in the sentence.
	want string
}

func run(t *testing.T, cases map[string]judged) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := tc.from()
			if tc.change != nil {
				tc.change(&f)
			}
			got := Judge(f)
			if got.Do != tc.do || !strings.Contains(got.Sentence(), tc.want) {
				t.Errorf("got %s: %s\nwant %s with %q", got.Do, got.Sentence(), tc.do, tc.want)
			}
			if got.Reason == "" || got.Do == Refuse && got.Hint == "" {
				t.Errorf("%s without a reason, or a refusal that does not say what to do: %+v", got.Do, got)
			}
		})
	}
}

func TestFullVolume(t *testing.T) {
	run(t, map[string]judged{
		"healthy_replica":                    {full, nil, Keep, "belongs to this member"},
		"crashed_primary_of_this_epoch":      {primary, nil, Keep, ""},
		"replica_that_won":                   {full, func(f *Facts) { f.Grant.Role, f.Grant.Deadline, f.Grant.Timeline = grant.Primary, now+1, 3 }, Keep, ""},
		"replica_with_nobody_to_stream_from": {full, func(f *Facts) { f.Grant.Upstream = nil }, Keep, ""},
		"ex_primary_that_is_to_follow": {primary, func(f *Facts) {
			f.Grant.Role, f.Grant.Deadline, f.Grant.Epoch, f.Grant.Timeline = grant.Replica, 0, at(0, 4), 3
		}, Keep, ""},
		"data_that_was_never_noted":           {full, func(f *Facts) { f.Noted, f.Note = false, notes.Member{} }, Keep, ""},
		"record_does_not_know_the_id_yet":     {full, func(f *Facts) { f.Grant.SystemID = "" }, Keep, ""},
		"mode_0750_was_made_0700":             {full, func(f *Facts) { f.Data.Mode = 0o750 }, Keep, ""},
		"foreign_database":                    {full, func(f *Facts) { f.Grant.SystemID = foreign }, Refuse, "foreign database"},
		"foreign_database_never_noted":        {full, func(f *Facts) { f.Noted, f.Note, f.Grant.SystemID = false, notes.Member{}, foreign }, Refuse, "foreign database"},
		"data_directory_was_exchanged":        {full, func(f *Facts) { f.Note.SystemID = foreign }, Refuse, "notes database " + foreign},
		"volume_is_a_copy":                    {full, func(f *Facts) { f.Note.Member = "pvc-2" }, Refuse, "it is a copy"},
		"copy_of_a_primary_is_not_led_by":     {primary, func(f *Facts) { f.Note.Member = "pvc-2" }, Refuse, "it is a copy"},
		"other_major_in_the_data":             {full, func(f *Facts) { f.Data.Major, f.Data.Version, f.Data.Control = 15, "15", nil }, Refuse, "use an image with PostgreSQL 15"},
		"data_of_9_6":                         {full, func(f *Facts) { f.Data.Major, f.Data.Version, f.Data.Control = 0, "9.6", nil }, Refuse, "PostgreSQL 9.6"},
		"other_major_in_the_image":            {full, func(f *Facts) { f.Tools.Major = 18 }, Refuse, "the image has PostgreSQL 18 and the chart says 17"},
		"not_a_data_directory":                {full, func(f *Facts) { f.Data.Major, f.Data.Version, f.Data.Control = 0, "", nil }, Refuse, "no PG_VERSION"},
		"control_file_is_damaged":             {full, func(f *Facts) { f.Data.Control, f.Data.ControlProblem = nil, "its checksum is wrong" }, Refuse, "checksum is wrong"},
		"another_user_owns_the_data":          {full, func(f *Facts) { f.Data.UID = 26 }, Refuse, "run the pods as user 26"},
		"mode_cannot_be_repaired":             {full, func(f *Facts) { f.Data.Mode, f.ModeProblem = 0o777, "read-only file system" }, Refuse, "0777"},
		"tablespace_outside":                  {full, func(f *Facts) { f.Data.Outside = []pgdata.Tablespace{{Name: "16384", Target: "/mnt/fast"}} }, Refuse, "16384 at /mnt/fast"},
		"newer_timeline_in_the_control_file":  {full, func(f *Facts) { f.Data.Control.Timeline = 3 }, Refuse, "timeline 3, newer than the record's 2"},
		"newer_timeline_in_replayed_WAL":      {full, func(f *Facts) { f.Data.Control.MinRecoveryTimeline = 4 }, Refuse, "timeline 4"},
		"newer_timeline_in_a_history_file":    {full, func(f *Facts) { f.Data.HighestHistory = 5 }, Refuse, "timeline 5"},
		"record_is_older_than_the_volume":     {full, func(f *Facts) { f.Note.HighestEpoch = at(0, 4) }, Refuse, "has seen epoch 0.4"},
		"record_of_an_older_site_epoch":       {full, func(f *Facts) { f.Note.HighestEpoch, f.Grant.Epoch = at(2, 1), at(1, 9) }, Refuse, "has seen epoch 2.1"},
		"timeline_number_given_out_twice":     {primary, func(f *Facts) { f.Note.Primary, f.Grant.Role, f.Grant.Deadline = at(0, 2), grant.Replica, 0 }, Refuse, "it has diverged"},
		"no_grant_yet":                        {full, func(f *Facts) { f.Grant = nil }, Wait, "not written a grant"},
		"grant_of_the_pod_before":             {full, func(f *Facts) { f.Grant.Holder.Pod = "pod-0" }, Wait, "another pod"},
		"grant_of_the_boot_before":            {full, func(f *Facts) { f.Grant.Holder.Boot = "boot-0" }, Wait, "another boot"},
		"grant_without_a_member":              {full, func(f *Facts) { f.Grant.Holder.Member = "" }, Wait, "which member"},
		"grant_has_run_out":                   {primary, func(f *Facts) { f.Grant.Deadline = now }, Wait, "run out"},
		"keeper_waits":                        {full, func(f *Facts) { f.Grant.Role, f.Grant.Reason = grant.Wait, "no lease yet" }, Wait, "no lease yet"},
		"keeper_stops":                        {full, func(f *Facts) { f.Grant.Role, f.Grant.Reason = grant.Stop, "fenced by hand" }, Wait, "fenced by hand"},
		"damage_is_told_also_without_a_grant": {full, func(f *Facts) { f.Grant, f.Data.UID = nil, 26 }, Refuse, "user 26"},
		"checksums_turned_off_in_the_values":  {full, func(f *Facts) { f.Settings.PostgreSQL.Initdb.NoChecksums = true }, Refuse, "noChecksums"},
		"segment_size_changed_in_the_values":  {full, func(f *Facts) { f.Settings.PostgreSQL.Initdb.WALSegmentMB = 64 }, Refuse, "the data has 16"},
		"segment_size_same_in_the_values":     {full, func(f *Facts) { f.Settings.PostgreSQL.Initdb.WALSegmentMB = 16 }, Keep, ""},
		"encoding_changed_in_the_values": {full, func(f *Facts) {
			f.Note.Initdb = &notes.Initdb{Encoding: "UTF8"}
			f.Settings.PostgreSQL.Initdb.Encoding = "LATIN1"
		}, Refuse, "LATIN1"},
		"encoding_spelled_differently": {full, func(f *Facts) {
			f.Note.Initdb = &notes.Initdb{Encoding: "UTF8"}
			f.Settings.PostgreSQL.Initdb.Encoding = "utf-8"
		}, Keep, ""},
		"libc_changed_under_libc_locale": {full, func(f *Facts) {
			f.Note.Initdb = &notes.Initdb{LocaleProvider: "libc"}
			f.Tools.Libraries.LibcVersion = "2.36"
		}, Refuse, "2.36, was 2.41"},
		"libc_changed_and_that_is_allowed": {full, func(f *Facts) {
			f.Note.Initdb = &notes.Initdb{LocaleProvider: "libc"}
			f.Tools.Libraries.LibcVersion = "2.36"
			f.Settings.PostgreSQL.AllowCollationChange = true
		}, Keep, ""},
		"libc_changed_under_builtin_locale": {full, func(f *Facts) {
			f.Note.Initdb = &notes.Initdb{LocaleProvider: "builtin"}
			f.Tools.Libraries.Libc = "musl"
		}, Keep, ""},
		"libc_unknown_is_not_a_change": {full, func(f *Facts) {
			f.Note.Initdb = &notes.Initdb{LocaleProvider: "libc"}
			f.Tools.Libraries = notes.Libraries{}
		}, Keep, ""},
		"icu_changed_under_icu_locale":          {full, func(f *Facts) { f.Note.Initdb = &notes.Initdb{LocaleProvider: "icu"}; f.Tools.Libraries.ICU = "78" }, Refuse, "ICU 78, was 76"},
		"bootstrap_claim_resumed_after_initdb":  {claimed, func(f *Facts) { f.Data = primary().Data; f.Data.Control.Timeline = 1 }, Keep, ""},
		"cloning_allowed_does_not_touch_a_full": {full, func(f *Facts) { f.Grant.MayClone = true }, Keep, ""},
	})
}

func TestEmptyVolume(t *testing.T) {
	run(t, map[string]judged{
		"clone":                                  {empty, nil, Clone, "clone from db-primary-0"},
		"clone_of_a_database_not_recorded_yet":   {empty, func(f *Facts) { f.Grant.SystemID = "" }, Clone, ""},
		"empty_directory_is_no_data":             {empty, func(f *Facts) { f.Data.Exists, f.Data.Mode, f.Data.UID = true, 0o2770, 999 }, Clone, ""},
		"empty_directory_of_another_user":        {empty, func(f *Facts) { f.Data.Exists, f.Data.UID = true, 0 }, Refuse, "belongs to user 0"},
		"clone_not_allowed_yet":                  {empty, func(f *Facts) { f.Grant.MayClone = false; f.Grant.Reason = "two clones run" }, Wait, "two clones run"},
		"clone_from_nobody":                      {empty, func(f *Facts) { f.Grant.Upstream = nil }, Wait, "nobody to clone from"},
		"clone_without_the_program":              {empty, func(f *Facts) { delete(f.Tools.Path, pgtools.Basebackup) }, Refuse, "no pg_basebackup"},
		"clone_interrupted":                      {empty, func(f *Facts) { f.NewData, f.Journal = true, entry("clone", "began") }, Clone, "clone from"},
		"clone_complete":                         {empty, func(f *Facts) { f.NewData, f.Journal = true, entry("clone", "complete") }, Clone, "finish the interrupted step clone"},
		"clone_complete_and_gone":                {empty, func(f *Facts) { f.Journal = entry("clone", "complete") }, Clone, "clone from"},
		"clone_in_place_but_not_closed":          {full, func(f *Facts) { f.Journal = entry("clone", "complete") }, Clone, "finish"},
		"clone_complete_waits_for_a_grant":       {empty, func(f *Facts) { f.NewData, f.Journal, f.Grant = true, entry("clone", "complete"), nil }, Wait, "not written a grant"},
		"clone_complete_of_another_member":       {empty, func(f *Facts) { f.NewData, f.Journal = true, entry("clone", "complete"); f.Journal.Member = "pvc-2" }, Refuse, "this volume is a copy"},
		"clone_complete_beside_data":             {full, func(f *Facts) { f.NewData, f.Journal = true, entry("clone", "complete") }, Refuse, "both a data directory"},
		"clone_began_beside_data":                {full, func(f *Facts) { f.Journal = entry("clone", "began") }, Refuse, "but there is a data directory"},
		"remains_without_a_journal_are_no_data":  {empty, func(f *Facts) { f.NewData = true }, Clone, ""},
		"step_of_a_newer_release":                {full, func(f *Facts) { f.Journal = entry("snapshot", "began") }, Refuse, "cannot finish: snapshot"},
		"stage_of_a_newer_release":               {empty, func(f *Facts) { f.Journal = entry("clone", "verified") }, Refuse, "cannot finish"},
		"initdb":                                 {claimed, nil, Init, "claim to create"},
		"initdb_interrupted":                     {claimed, func(f *Facts) { f.NewData, f.Journal = true, entry("init", "began") }, Init, "claim to create"},
		"initdb_interrupted_and_another_was_it":  {empty, func(f *Facts) { f.NewData, f.Journal = true, entry("init", "began") }, Clone, ""},
		"initdb_complete":                        {claimed, func(f *Facts) { f.NewData, f.Journal = true, entry("init", "complete") }, Init, "finish"},
		"initdb_complete_and_gone":               {claimed, func(f *Facts) { f.Journal = entry("init", "complete") }, Refuse, "is gone"},
		"initdb_without_a_claim":                 {claimed, func(f *Facts) { f.Grant.Bootstrap = false }, Refuse, "only under a claim"},
		"initdb_although_the_record_knows_one":   {claimed, func(f *Facts) { f.Grant.SystemID = ours }, Refuse, "knows database " + ours},
		"initdb_although_the_volume_held_one":    {claimed, func(f *Facts) { f.Noted, f.Note = true, notes.Member{Member: "pvc-1", SystemID: ours} }, Refuse, "empty directory is no proof"},
		"initdb_without_the_program":             {claimed, func(f *Facts) { delete(f.Tools.Path, pgtools.Initdb) }, Refuse, "no initdb"},
		"initdb_after_the_grant_ran_out":         {claimed, func(f *Facts) { f.Grant.Deadline = now }, Wait, "run out"},
		"initdb_for_a_replica_with_a_claim":      {claimed, func(f *Facts) { f.Grant.Role, f.Grant.Deadline = grant.Replica, 0 }, Wait, "does not allow a clone"},
		"copy_of_an_empty_volume":                {empty, func(f *Facts) { f.Noted, f.Note = true, notes.Member{Member: "pvc-2"} }, Refuse, "it is a copy"},
		"record_is_older_than_the_empty_volume":  {empty, func(f *Facts) { f.Noted, f.Note = true, notes.Member{Member: "pvc-1", HighestEpoch: at(0, 9)} }, Refuse, "has seen epoch 0.9"},
		"other_major_in_the_image_for_a_clone":   {empty, func(f *Facts) { f.Tools.Major = 15 }, Refuse, "the image has PostgreSQL 15"},
		"no_major_in_the_settings_takes_what_is": {empty, func(f *Facts) { f.Settings.Major = 0 }, Clone, ""},
	})
}

// A hint to delete a volume may be given only where a leader is known that holds the database too.
func TestNobodyIsToldToDeleteWhatMayBeTheOnlyCopy(t *testing.T) {
	damage := map[string]func(*Facts){
		"control_file": func(f *Facts) { f.Data.Control, f.Data.ControlProblem = nil, "its checksum is wrong" },
		"no_data":      func(f *Facts) { f.Data.Major, f.Data.Version, f.Data.Control = 0, "", nil },
		"foreign":      func(f *Facts) { f.Grant.SystemID = foreign },
		"exchanged":    func(f *Facts) { f.Note.SystemID = foreign },
		"newer_line":   func(f *Facts) { f.Data.Control.Timeline = 9 },
		"by_hand":      handPromoted,
		"unknown_step": func(f *Facts) { f.Journal = entry("snapshot", "began") },
		"copy":         func(f *Facts) { f.Note.Member = "pvc-2" },
	}
	for name, spoil := range damage {
		for who, from := range map[string]func() Facts{"leader": primary, "replica_of_nobody": func() Facts { f := full(); f.Grant.Upstream = nil; return f }} {
			f := from()
			spoil(&f)
			if p := Judge(f); p.Do != Refuse || strings.Contains(p.Hint, "delete its") {
				t.Errorf("%s of %s: %s: %s", name, who, p.Do, p.Sentence())
			}
		}
		f := full()
		spoil(&f)
		if p := Judge(f); p.Do != Refuse || strings.Contains(p.Hint, "delete its") != (name != "copy") {
			t.Errorf("%s of a replica with a leader: %s: %s", name, p.Do, p.Sentence())
		}
	}
}

func TestFindingsThatAreNoVerdict(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Facts)
		want   string
	}{
		"no_checksums":        {func(f *Facts) { f.Data.Control.Checksums = false }, "no data checksums"},
		"libc_changed":        {func(f *Facts) { f.Tools.Libraries.LibcVersion = "2.36" }, "reindex"},
		"rewind_missing":      {func(f *Facts) { delete(f.Tools.Path, pgtools.Rewind) }, "no pg_rewind"},
		"data_directory_gone": {func(f *Facts) { f.Data, f.Grant.MayClone = pgdata.Facts{Empty: true}, true }, "is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			f := full()
			tc.change(&f)
			got := Judge(f)
			if got.Do != Keep && got.Do != Clone || !strings.Contains(strings.Join(got.Warnings, "\n"), tc.want) {
				t.Errorf("got %+v, want a warning with %q", got, tc.want)
			}
		})
	}
	if got := Judge(full()); len(got.Warnings) != 0 {
		t.Errorf("a healthy member has warnings: %v", got.Warnings)
	}
}

func TestWritable(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Facts)
		want   bool
		reason string
	}{
		"restart_within_the_epoch":             {func(*Facts) {}, true, "already"},
		"first_start_after_initdb":             {func(f *Facts) { f.Data.Control.State = "shut down" }, true, ""},
		"crash_before_the_first_checkpoint":    {func(f *Facts) { f.Data.Control.Timeline, f.Data.Control.MinRecoveryTimeline = 1, 2 }, true, ""},
		"replica":                              {func(f *Facts) { f.Grant.Role, f.Grant.Deadline = grant.Replica, 0 }, false, "to be replica"},
		"waiting":                              {func(f *Facts) { f.Grant.Role, f.Grant.Deadline = grant.Wait, 0 }, false, "to be wait"},
		"grant_ran_out":                        {func(f *Facts) { f.Grant.Deadline = now }, false, "run out"},
		"grant_of_another_pod":                 {func(f *Facts) { f.Grant.Holder.Pod = "pod-0" }, false, "another incarnation"},
		"grant_of_another_boot":                {func(f *Facts) { f.Grant.Holder.Boot = "boot-0" }, false, "another incarnation"},
		"copy_of_the_volume":                   {func(f *Facts) { f.Note.Member = "pvc-2" }, false, "granted member's"},
		"volume_without_a_note":                {func(f *Facts) { f.Note = notes.Member{} }, false, "granted member's"},
		"won_again_in_a_new_epoch":             {func(f *Facts) { f.Grant.Epoch, f.Grant.Timeline = at(0, 4), 3 }, false, "last primary in epoch 0.3, granted is 0.4"},
		"never_primary":                        {func(f *Facts) { f.Note.Primary, f.Note.PrimaryLine = epoch.Epoch{}, 0 }, false, "last primary in epoch 0.0"},
		"other_timeline_of_the_epoch":          {func(f *Facts) { f.Grant.Timeline = 3 }, false, "another timeline"},
		"killed_between_note_and_promotion":    {func(f *Facts) { f.Note.PrimaryLine, f.Grant.Timeline = 3, 3 }, false, "did not happen yet"},
		"base_backup_that_was_never_recovered": {func(f *Facts) { f.Data.BackupLabel = true }, false, "base backup"},
		"base_backup_half_recovered":           {func(f *Facts) { f.Data.Control.BackupStart = lsn.LSN(1) }, false, "base backup"},
		"control_file_unreadable":              {func(f *Facts) { f.Data.Control = nil }, false, "control file"},
		"both_notes_empty_is_no_match":         {func(f *Facts) { f.Note.Member, f.Grant.Holder.Member = "", "" }, false, "granted member's"},
	} {
		t.Run(name, func(t *testing.T) {
			f := primary()
			tc.change(&f)
			got, reason := Writable(*f.Grant, f.Me, f.Now, f.Note, f.Data)
			if got != tc.want || !strings.Contains(reason, tc.reason) {
				t.Errorf("got %v (%s), want %v (%s)", got, reason, tc.want, tc.reason)
			}
		})
	}
}
