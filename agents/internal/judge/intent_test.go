package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// asked is an intent for the present epoch, 1.3, to hand over to the best of two that could.
func asked() Asked {
	r := recordOf(me)
	r.Members = append(r.Members, record.Member{ID: "pvc-c", Pod: "a-replica-1"})
	return Asked{
		Intent: record.Intent{ID: "i", Kind: record.Switchover, Epoch: at(3), From: "a-primary-0", FromID: "pvc-a", State: record.Open},
		Left:   time.Minute, Record: r, Pod: "a-primary-0", Member: "pvc-a", Leads: true, Opened: true, MaxLag: 1000,
		Successors: []Successor{{Member: "pvc-b", Pod: "a-replica-0", Lag: 20}, {Member: "pvc-c", Pod: "a-replica-1", Lag: 10}},
	}
}

func TestIntent(t *testing.T) {
	to := func(pod string) func(*Asked) { return func(a *Asked) { a.Intent.Target = pod } }
	with := func(changes ...func(*Asked)) func(*Asked) {
		return func(a *Asked) {
			for _, c := range changes {
				c(a)
			}
		}
	}
	first := func(change func(*Successor)) func(*Asked) { return func(a *Asked) { change(&a.Successors[0]) } }
	second := func(change func(*Successor)) func(*Asked) { return func(a *Asked) { change(&a.Successors[1]) } }
	late := func(a *Asked) { a.Left = 0 }
	lags := func(s *Successor) { s.Lag = 1001 }
	deaf := func(s *Successor) { s.Problem = "it was not heard" }
	barred := func(s *Successor) { s.Barred = "it never leads" }
	// after is the record of the next epoch, led by the given member.
	after := func(pod, id string) func(*Asked) {
		return func(a *Asked) { a.Record.Epoch, a.Record.Timeline, a.Pod, a.Member = at(4), 5, pod, id }
	}
	for name, c := range map[string]struct {
		change func(*Asked)
		deed   Deed
		pod    string
		says   string
	}{
		"best_is_the_nearest":                      {nil, HandOver, "a-replica-1", "handing over"},
		"priority_before_nearness":                 {first(func(s *Successor) { s.Priority = 1 }), HandOver, "a-replica-0", ""},
		"priority_does_not_help_who_lags":          {first(func(s *Successor) { s.Priority, s.Lag = 1, 1001 }), HandOver, "a-replica-1", ""},
		"named_target_before_the_best":             {to("a-replica-0"), HandOver, "a-replica-0", ""},
		"lag_just_small_enough":                    {with(to("a-replica-0"), first(func(s *Successor) { s.Lag = 1000 })), HandOver, "a-replica-0", ""},
		"target_lags_and_is_waited_for":            {with(to("a-replica-0"), first(lags)), Leave, "", "lacks 1001 bytes"},
		"target_lags_until_the_end":                {with(to("a-replica-0"), first(lags), late), Refuse, "", "its time is over: a-replica-0 lacks"},
		"target_is_not_heard_and_waited_for":       {with(to("a-replica-0"), first(deaf)), Leave, "", "was not heard"},
		"target_is_not_heard_until_the_end":        {with(to("a-replica-0"), first(deaf), late), Refuse, "", "was not heard"},
		"target_must_not_lead":                     {with(to("a-replica-0"), first(barred)), Refuse, "", "it never leads"},
		"target_is_unknown":                        {to("a-replica-9"), Refuse, "", "the record lists a-primary-0, a-replica-0, a-replica-1"},
		"target_leads_already":                     {to("a-primary-0"), Finish, "", "leads already"},
		"target_leads_already_while_paused":        {with(to("a-primary-0"), func(a *Asked) { a.PauseLeft = 1 }), Finish, "", "leads already"},
		"time_is_over_although_all_are_fit":        {late, Refuse, "", "its time is over"},
		"nobody_is_fit_and_waited_for":             {with(first(deaf), second(barred)), Leave, "", "a-replica-0 cannot follow: it was not heard; a-replica-1 must not lead"},
		"nobody_is_fit_until_the_end":              {with(first(deaf), second(lags), late), Refuse, "", "no member is fit"},
		"nobody_else_is_there":                     {func(a *Asked) { a.Successors = nil }, Refuse, "", "only member"},
		"paused":                                   {func(a *Asked) { a.PauseLeft = 90 * time.Second }, Refuse, "", "paused for another 1m30s"},
		"lease_is_not_in_force":                    {func(a *Asked) { a.Leads = false }, Leave, "", "no member leads"},
		"leader_is_still_being_promoted":           {func(a *Asked) { a.Opened = false }, Leave, "", "being promoted"},
		"began_and_was_called_off":                 {func(a *Asked) { a.CalledOff = "the server did not stop in time" }, Refuse, "", "goes on as primary"},
		"old_epoch_is_never_acted_upon":            {func(a *Asked) { a.Intent.Epoch = at(2); a.Intent.From, a.Intent.FromID = "a-replica-0", "pvc-b" }, Finish, "", "a-primary-0 leads in epoch 1.3"},
		"old_epoch_of_the_same_leader":             {func(a *Asked) { a.Intent.Epoch = at(2) }, Refuse, "", "epoch 1.2, for which it was made, is over"},
		"later_epoch_than_the_record":              {func(a *Asked) { a.Intent.Epoch = at(4) }, Refuse, "", "made for epoch 1.4"},
		"handed_over_and_not_open_yet":             {with(after("a-replica-1", "pvc-c"), func(a *Asked) { a.Opened = false }), Leave, "", "being promoted"},
		"handed_over_to_the_best":                  {after("a-replica-1", "pvc-c"), Finish, "", "a-replica-1 leads in epoch 1.4 on timeline 5"},
		"handed_over_to_the_target":                {with(to("a-replica-1"), after("a-replica-1", "pvc-c")), Finish, "", "a-replica-1 leads"},
		"somebody_else_took_it":                    {with(to("a-replica-1"), after("a-replica-0", "pvc-b")), Refuse, "", "a-replica-0 leads in epoch 1.4"},
		"old_leader_took_it_back":                  {after("a-primary-0", "pvc-a"), Refuse, "", "a-primary-0 leads in epoch 1.4"},
		"old_leaders_time_does_not_count_any_more": {with(after("a-replica-1", "pvc-c"), late), Finish, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := asked()
			if c.change != nil {
				c.change(&a)
			}
			got := Intent(a)
			if got.Deed != c.deed || got.Pod != c.pod || !strings.Contains(got.Reason, c.says) || got.Reason == "" {
				t.Errorf("got %+v, want %v %q %q", got, c.deed, c.pod, c.says)
			}
			if (got.Deed == HandOver) != (got.Heir != "") {
				t.Errorf("deed %v with heir %q", got.Deed, got.Heir)
			}
		})
	}
}

func TestAdmission(t *testing.T) {
	r := recordOf(me)
	r.Intend(record.Intent{ID: "old", State: record.Done, Epoch: at(2)})
	if a := Admit(r, "new", at(3)); a.Known != nil || a.Refused != "" {
		t.Errorf("got %+v", a)
	}
	if a := Admit(r, "new", at(0)); a.Refused == "" {
		t.Error("an epoch that is over was admitted")
	}
	if a := Admit(r, "old", at(3)); a.Known == nil || a.Known.State != record.Done {
		t.Errorf("the same id again: got %+v", a)
	}
	r.Intend(record.Intent{ID: "open", State: record.Open, Epoch: at(3)})
	if a := Admit(r, "new", at(3)); !strings.Contains(a.Refused, "open is not finished") {
		t.Errorf("two at once: got %+v", a)
	}
	if a := Admit(r, "open", at(9)); a.Known == nil {
		t.Errorf("a known id is reported, whatever else was said: got %+v", a)
	}
}

func TestPausedElections(t *testing.T) {
	pause := func(left time.Duration) func(*Facts) {
		return func(f *Facts) {
			f.Store.Record.Pause = &record.Pause{ID: "p", Reason: "new disks", Left: record.Duration(left)}
			f.Store.Unchanged = 20 * time.Second
		}
	}
	paused := pause(20*time.Second + 1)
	returns := func() Facts {
		f := orphaned()
		f.Store.Record.Holder, f.Election.For = early, electionWait
		return f
	}
	check(t, map[string]row{
		"candidate_does_not_take":                {orphaned(), paused, want{says: "elections are paused (new disks): only a-replica-1 may lead"}},
		"candidate_without_a_grant_waits":        {orphaned(), all(paused, func(f *Facts) { f.Local.Previous = nil }), want{role: grant.Wait, says: "paused"}},
		"pause_that_is_over":                     {orphaned(), pause(20 * time.Second), leads(4)},
		"pause_that_a_person_lifted":             {orphaned(), all(paused, func(f *Facts) { f.Store.Lifted = "p" }), leads(4)},
		"another_pause_was_lifted":               {orphaned(), all(paused, func(f *Facts) { f.Store.Lifted = "q" }), want{says: "paused"}},
		"holders_own_member_comes_back":          {returns(), paused, leads(4)},
		"released_record_is_left":                {givenBack(0x5000080), paused, want{says: "paused"}},
		"released_record_goes_back_to_its_giver": {gaveBack(), paused, want{role: grant.Wait, do: Take, epoch: at(4), line: 4}},
		"leader_goes_on":                         {held(me), paused, want{role: grant.Primary, epoch: at(3), line: 3}},
		"follower_goes_on":                       {held(other), paused, want{role: grant.Replica, epoch: at(3), line: 3}},
		"fence_of_a_lost_right_is_as_always": {held(other), all(paused, func(f *Facts) { f.Local.State.Server, f.Local.State.Phase = grant.Writable, grant.Running }),
			want{role: grant.Stop, says: "may write no longer"}},
	})
}

func TestFencedByHand(t *testing.T) {
	word := func(f *Facts) {
		f.Store.Record.Fenced = []record.Fenced{{ID: "f1", Member: "pvc-a", Pod: "a-primary-0", Reason: "bad memory"}}
	}
	noted := func(f *Facts) { f.Local.State.Volume.Fenced = true }
	server := func(s grant.Server) func(*Facts) {
		return func(f *Facts) { f.Local.State.Server, f.Local.State.Phase = s, grant.Running }
	}
	unreachable := func(f *Facts) { f.Store = Store{Known: Unreachable, Silent: time.Hour, Problem: "dial timeout"} }
	stays := want{role: grant.Stop, says: "fenced by hand"}
	check(t, map[string]row{
		"follower_is_stopped":               {held(other), all(word, server(grant.Standby)), want{role: grant.Stop, epoch: at(3), line: 3, says: `fenced by hand (bad memory): "role unfence a-primary-0" lifts it`}},
		"stopped_member_stays_stopped":      {held(other), word, stays},
		"candidate_neither_votes_nor_takes": {orphaned(), word, stays},
		"released_record_is_not_taken":      {givenBack(0x5000080), word, stays},
		"holders_earlier_life_is_stopped":   {held(early), all(word, func(f *Facts) { f.Store.Expired = true }), stays},
		"leader_is_not_stopped_by_it":       {held(me), all(word, server(grant.Writable)), want{role: grant.Primary, epoch: at(3), line: 3}},
		"lifted_while_nobody_leads":         {orphaned(), all(word, func(f *Facts) { f.Store.Unfenced = "f1" }), leads(4)},
		"fenced_anew_after_it_was_lifted":   {orphaned(), all(word, func(f *Facts) { f.Store.Unfenced = "f0" }), stays},
		"lifted_fence_of_an_older_release": {orphaned(), all(word, func(f *Facts) {
			f.Store.Record.Fenced[0].ID, f.Store.Unfenced = "", "of pvc-a"
		}), leads(4)},
		"others_do_not_wait_for_a_fenced_one": {orphaned(), func(f *Facts) {
			f.Election.Peers = nil
			f.Store.Record.Fenced = []record.Fenced{{Member: "pvc-b"}}
		}, leads(4)},
		"leader_that_could_not_renew":        {held(me), all(word, func(f *Facts) { f.Store.InForce = false }), want{says: "could not be renewed"}},
		"writing_server_is_fenced_at_once":   {held(other), all(word, server(grant.Writable)), want{role: grant.Stop, says: "may write no longer"}},
		"other_member_is_fenced":             {held(other), func(f *Facts) { word(f); f.Store.Record.Fenced[0].Member = "pvc-b" }, want{role: grant.Replica, says: "leads"}},
		"record_has_lifted_what_is_noted":    {held(other), noted, want{role: grant.Replica, says: "leads"}},
		"noted_and_the_api_is_away":          {base(), all(unreachable, noted), stays},
		"noted_and_the_record_is_gone":       {base(), noted, stays},
		"noted_and_adopted_by_a_person":      {base(), all(noted, func(f *Facts) { f.Adopt = f.Pod + "@1.3" }), want{role: grant.Wait, do: Create, epoch: at(100), line: 103}},
		"noted_and_another_one_is_adopted":   {base(), all(noted, func(f *Facts) { f.Adopt = "a-replica-0@1.3" }), stays},
		"adoption_is_no_word_during_outages": {base(), all(unreachable, noted, func(f *Facts) { f.Adopt = f.Pod + "@1.3" }), stays},
		"grant_in_force_ends_by_itself":      {base(), all(unreachable, noted, func(f *Facts) { f.Local.Previous, f.Local.PreviousInForce = &grant.Grant{Role: grant.Primary}, true }), want{says: "until it ends"}},
	})
	f := held(other)
	word(&f)
	if v := Judge(f); !v.Grant.Fenced || v.Fence {
		t.Errorf("got %+v, want an orderly stop that is noted", v)
	}
	f.Store.Unfenced = "f1"
	if g := Judge(f).Grant; g.Role != grant.Replica || g.Unfenced != "f1" {
		t.Errorf("got %+v, want a grant by which the next process of keeper knows what was lifted", g)
	}
}
