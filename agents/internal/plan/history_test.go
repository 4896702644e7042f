package plan

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
)

// Numbers of epochs and timelines alone do not tell two pasts apart: what the volume itself has been does.
func TestAnotherPastIsRefusedWhateverItsNumbers(t *testing.T) {
	led := func(f *Facts) { // this volume led epoch 0.4 on timeline 4
		f.Data.StandbySignal, f.Data.HighestHistory, f.Data.Control.Timeline, f.Data.Control.State = false, 4, 4, "in production"
		f.Note.Primary, f.Note.PrimaryLine, f.Note.HighestEpoch, f.Note.Started = at(0, 4), 4, at(0, 4), notes.AsPrimary
		f.WAL = &pgdata.WAL{Timeline: 4, Lines: past(4), End: 0x4000, Exact: true}
		f.Grant.Epoch, f.Grant.Timeline = at(0, 4), 4
	}
	at1 := func(local uint64, line uint32, change func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			change(f)
			f.Grant.Epoch, f.Grant.Timeline, f.Grant.Lines = at(0, local), line, past(line)
		}
	}
	run(t, map[string]judged{
		"opened_by_hand": {full, handPromoted, Refuse, "opened for writing on timeline 3 without a grant"},
		"opened_by_hand_and_the_number_is_given_out": {full, at1(4, 3, handPromoted), Refuse, "opened for writing on timeline 3 without a grant"},
		"opened_by_hand_and_the_number_is_long_past": {full, at1(9, 12, handPromoted), Refuse, "opened for writing on timeline 3 without a grant"},
		"opened_by_hand_is_no_reader_of_nobody":      {full, func(f *Facts) { handPromoted(f); unseen(f) }, Refuse, "without a grant"},
		"opened_by_hand_and_now_to_lead": {full, func(f *Facts) {
			at1(4, 4, handPromoted)(f)
			f.Grant.Role, f.Grant.Deadline, f.Grant.Upstream = grant.Primary, now+1, nil
		}, Refuse, "without a grant"},
		"opened_by_its_own_grant": {full, func(f *Facts) {
			handPromoted(f)
			f.Note.Reign(at(0, 4), "", 3)
			f.WAL = &pgdata.WAL{Timeline: 3, Lines: past(3), End: 0x3000, Exact: true}
			f.Grant.Epoch, f.Grant.Timeline, f.Grant.Lines = at(0, 5), 4, past(4)
		}, Keep, ""},
		"its_own_epoch_is_led_by_another":             {full, led, Refuse, "db-primary-0 leads that epoch: it has diverged"},
		"its_own_epoch_is_led_by_another_further_on":  {full, at1(4, 9, led), Refuse, "leads that epoch"},
		"its_own_epoch_goes_on_in_itself":             {full, func(f *Facts) { led(f); f.Grant.Role, f.Grant.Deadline, f.Grant.Upstream = grant.Primary, now+1, nil }, Keep, ""},
		"its_epoch_has_ended_and_another_leads":       {full, at1(5, 5, led), Keep, ""},
		"reads_while_the_record_cannot_be_read":       {full, unseen, Keep, ""},
		"reads_although_the_volume_has_led":           {full, func(f *Facts) { led(f); unseen(f) }, Keep, ""},
		"no_reads_from_a_volume_of_another_database":  {full, func(f *Facts) { unseen(f); f.Note.SystemID = foreign }, Refuse, "holds database"},
		"reads_although_it_is_not_known_which_member": {full, func(f *Facts) { unseen(f); f.Grant.Holder.Member = "" }, Keep, ""},
		"no_reads_from_a_volume_that_notes_nothing":   {full, func(f *Facts) { unseen(f); f.Grant.Holder.Member, f.Noted, f.Note = "", false, notes.Member{} }, Wait, "which member"},
		"an_epoch_that_is_unknown_is_not_an_old_one":  {full, func(f *Facts) { unseen(f); f.Grant.Epoch = epoch.Epoch{Site: 0, Local: 1} }, Refuse, "has seen epoch 0.3"},
	})
}
