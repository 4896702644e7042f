package keeping

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestFailsafeNeedsThePromiseOfEverybody(t *testing.T) {
	b, c := record.Member{ID: "b", Pod: "db-1"}, record.Member{ID: "c", Pod: "db-2"}
	given, not := peers.PromiseAnswer{Promise: peers.Promise{Given: true}}, peers.PromiseAnswer{Promise: peers.Promise{Why: "it knows better"}}
	for name, x := range map[string]struct {
		listed   []record.Member
		answers  map[string]peers.PromiseAnswer
		replicas int
		want     bool
		says     string
	}{
		"all_promise":                   {[]record.Member{b, c}, map[string]peers.PromiseAnswer{"b": given, "c": given}, 2, true, "all 2"},
		"one_is_not_heard":              {[]record.Member{b, c}, map[string]peers.PromiseAnswer{"b": given, "c": {Err: errors.New("dial db-2")}}, 2, false, "dial db-2"},
		"one_refuses":                   {[]record.Member{b, c}, map[string]peers.PromiseAnswer{"b": given, "c": not}, 2, false, "db-2 does not: it knows better"},
		"one_was_not_asked":             {[]record.Member{b, c}, map[string]peers.PromiseAnswer{"b": given}, 2, false, "db-2 was not asked"},
		"answers_of_others_count_not":   {[]record.Member{b}, map[string]peers.PromiseAnswer{"c": given}, 2, false, "db-1 was not asked"},
		"nobody_is_listed_but_expected": {nil, nil, 1, false, "no other"},
		"a_single_server":               {nil, nil, 0, true, ""},
		"a_single_server_scaled_down":   {[]record.Member{b}, nil, 0, false, "db-1 was not asked"},
	} {
		if got, why := agreed(x.listed, x.answers, x.replicas); got != x.want || !strings.Contains(why, x.says) {
			t.Errorf("%s: got %v, %q; want %v, %q", name, got, why, x.want, x.says)
		}
	}
}

// D3: as long as a change of the list is not confirmed, everybody of either list is asked.
func TestFailsafeAsksTheUnionOfUnconfirmedLists(t *testing.T) {
	m := func(ids string) (out []record.Member) {
		for _, id := range strings.Split(ids, "") {
			out = append(out, record.Member{ID: id})
		}
		return out
	}
	for name, c := range map[string]struct {
		listed      []record.Member
		unconfirmed [][]record.Member
		want        string
	}{
		"confirmed":               {m("abc"), [][]record.Member{m("abc")}, "bc"},
		"one_more":                {m("ab"), [][]record.Member{m("abc")}, "bc"},
		"one_less":                {m("abc"), [][]record.Member{m("ab")}, "bc"},
		"changed_twice":           {m("ab"), [][]record.Member{m("abc"), m("abd")}, "bcd"},
		"nothing_told_since_then": {m("ab"), nil, "b"},
	} {
		got := ""
		for _, x := range pleaList(c.listed, c.unconfirmed, "a") {
			got += x.ID
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestListsStayUntilAWriteIsConfirmed(t *testing.T) {
	k := &Keeper{o: Options{Control: t.TempDir()}, electWake: newWake(), judgeWake: newWake(), publishWake: newWake(), observeWake: newWake(), handWake: newWake(), pleaWake: newWake()}
	old, now := []record.Member{{ID: "a"}, {ID: "b"}}, []record.Member{{ID: "a"}}
	v := holding(3, start.Add(time.Second))
	v.Renewals = 5
	k.noteView(v)
	k.known.news = news{epoch: at(3), members: now, lists: [][]record.Member{old, now}}
	k.noteView(v) // a failed renewal
	if got := k.lists(v.Record); len(got) != 2 {
		t.Errorf("not confirmed: got %v", got)
	}
	v.Renewals = 6
	k.noteView(v)
	if got := k.lists(v.Record); len(got) != 1 || len(got[0]) != 1 {
		t.Errorf("confirmed: got %v", got)
	}
	if got := k.lists(holding(4, start.Add(time.Second)).Record); got != nil {
		t.Errorf("another epoch's: got %v", got)
	}
}

func TestPromiseIsRefusedToWhoIsNotTheLeader(t *testing.T) {
	leader, other := grant.Incarnation{Member: "a", Pod: "p", Boot: "x"}, grant.Incarnation{Member: "a", Pod: "p2", Boot: "x"}
	plea := peers.Plea{Leader: leader, Epoch: at(3), Reign: "r"}
	view := func(change func(*record.Record)) lease.View {
		v := lease.View{Known: lease.Present, Record: record.Record{Epoch: at(3), Reign: "r", Holder: leader}}
		if change != nil {
			change(&v.Record)
		}
		return v
	}
	for name, c := range map[string]struct {
		v    lease.View
		want string
	}{
		"the_recorded_leader":               {view(nil), ""},
		"never_heard_of_a_record":           {lease.View{}, ""},
		"has_not_seen_the_last_takeover":    {view(func(r *record.Record) { r.Epoch, r.Holder = at(2), other }), ""},
		"a_later_epoch":                     {view(func(r *record.Record) { r.Epoch = at(4) }), "of epoch 1.4"},
		"another_incarnation_of_the_member": {view(func(r *record.Record) { r.Holder = other }), "another leader"},
		"another_reign_of_that_number":      {view(func(r *record.Record) { r.Reign = "s" }), "another leader"},
		"it_was_given_back":                 {view(func(r *record.Record) { r.Released = true }), "given back"},
	} {
		if got := refusal(c.v, plea); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// A promise binds a volume, and the next pod of that volume knows nothing of it (SAFETY rule 17).
func TestOnlyAPodThatHasItsVolumePromises(t *testing.T) {
	now := boottime.Now()
	for name, c := range map[string]struct {
		s    *grant.State
		want string
	}{
		"guard":                          {&grant.State{Beat: now, Phase: grant.Running, Disk: &grant.Disk{At: now - boottime.Instant(5*time.Second)}}, ""},
		"guard_before_its_first_write":   {&grant.State{Beat: now, Phase: grant.Starting}, ""},
		"seed":                           {&grant.State{Beat: now, Phase: grant.Seeding}, ""},
		"nobody_has_reported_yet":        {nil, "nobody reports"},
		"guard_is_gone":                  {&grant.State{Beat: now - boottime.Instant(4*time.Second), Phase: grant.Running}, "nobody reports"},
		"another_pod_has_it":             {&grant.State{Beat: now, Phase: grant.Locking, Reason: "the volume is locked by db-1"}, "held by another: the volume is locked by db-1"},
		"volume_was_taken_off_this_node": {&grant.State{Beat: now, Phase: grant.Running, Disk: &grant.Disk{At: now, Problem: "input/output error"}}, "does not answer"},
		"volume_has_been_silent":         {&grant.State{Beat: now, Phase: grant.Running, Disk: &grant.Disk{At: now - boottime.Instant(11*time.Second)}}, "does not answer"},
		"first_write_hangs":              {&grant.State{Beat: now, Phase: grant.Running, Disk: &grant.Disk{Since: now - boottime.Instant(3*time.Second)}}, "does not answer"},
	} {
		if got := withoutVolume(c.s, now); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestNextPodOfAVolumeWaitsOutThePromisesOfTheOneBefore(t *testing.T) {
	held := record.Record{Holder: grant.Incarnation{Member: "pvc-b", Pod: "b", Boot: "x"}, Duration: record.Duration(8 * time.Second)}
	own, given, vacant := held, held, held
	own.Holder = grant.Incarnation{Member: me.Member, Pod: "earlier", Boot: "x"}
	given.Released = true
	vacant.Epoch, vacant.Beat = at(3), 7
	vacant.Vacated = vacant.Version()
	for name, c := range map[string]struct {
		r    record.Record
		had  time.Duration
		want bool
	}{
		"volume_is_not_here_yet":      {held, 0, true},
		"promises_may_still_hold":     {held, 18*time.Second - 1, true},
		"the_last_one_has_lapsed":     {held, 18 * time.Second, false},
		"its_own_earlier_life_led":    {own, 0, false},
		"leader_has_given_it_back":    {given, 0, false},
		"leader_is_proven_to_be_dead": {vacant, 0, false},
	} {
		if got := boundByAnotherLife(lease.View{Record: c.r}, me, c.had); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
