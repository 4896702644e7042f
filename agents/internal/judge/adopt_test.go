package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

// named is base, or another state, in which a person has set bootstrap.adopt.
func named(f Facts, adopt string, change func(*Facts)) row {
	f.Adopt = adopt
	return row{facts: f, change: change}
}

func (r row) is(w want) row {
	if w.role == "" {
		w.role = grant.Wait
	}
	r.want = w
	return r
}

func TestAdoption(t *testing.T) {
	newer := func(f *Facts) { f.Others.Volumes[1].Epoch, f.Others.Volumes[1].Timeline = at(8), 11 }
	foreign := func(f *Facts) {
		f.Others.Volumes[1] = Volume{Member: "pvc-b", Pod: "a-replica-0", SystemID: "1", Epoch: at(580), Timeline: 90}
	}
	unmarked := func(f *Facts) {
		f.Local.State.Volume = &grant.Volume{SystemID: systemID, Timeline: 7}
		f.Others.Volumes = f.Others.Volumes[:1]
		f.Others.Volumes[0].Epoch, f.Others.Volumes[0].Timeline = epoch.Epoch{}, 0
	}
	emptyHere := func(f *Facts) {
		f.Others.Empty, f.Others.WithData = []string{"a-primary-0"}, []string{"a-replica-0"}
		f.Others.Volumes[1].SystemID, f.Others.Volumes[1].Epoch = systemID, at(3)
	}
	check(t, map[string]row{
		// The lost leader may have been further than any claim says: neither its epoch nor its timeline may be given out again.
		"leaps_over_what_the_lost_leader_may_have_used": named(base(), "a-primary-0@1.3", nil).is(want{do: Create, epoch: at(100), line: 103}),
		"is_above_every_noted_epoch":                    named(base(), "a-primary-0@1.8", newer).is(want{do: Create, epoch: at(100), line: 111}),
		"is_above_the_epoch_it_was_given_for":           named(base(), "a-primary-0@1.250", nil).is(want{do: Create, epoch: at(300), line: 103}),
		"foreign_database_does_not_raise_epochs":        named(base(), "a-primary-0@1.3", foreign).is(want{do: Create, epoch: at(100), line: 103}),
		"data_that_never_had_an_epoch_needs_none":       named(base(), "a-primary-0", unmarked).is(want{do: Create, epoch: at(100), line: 107}),

		"left_in_the_values_takes_no_old_copy":  named(base(), "a-primary-0@1.3", newer).is(want{person: true, says: "was given for epoch 1.3 and this release has seen 1.8"}),
		"own_note_counts_too":                   named(base(), "a-primary-0@1.2", nil).is(want{person: true, says: "a-primary-0@1.3"}),
		"without_an_epoch_is_told_the_words":    named(base(), "a-primary-0", newer).is(want{person: true, says: "a-primary-0@1.8"}),
		"of_another_site_is_told_the_words":     named(base(), "a-primary-0@7.3", nil).is(want{person: true, says: "a-primary-0@1.3"}),
		"without_words_for_the_epoch":           named(base(), "a-primary-0@latest", nil).is(want{person: true, says: "cannot be understood"}),
		"with_an_endless_epoch":                 named(base(), "a-primary-0@1.99999999999", nil).is(want{person: true, says: "cannot be understood"}),
		"mistyped_pod_is_told":                  named(base(), "a-primray-0@1.3", nil).is(want{person: true, says: "no volume of such a pod"}),
		"mistyped_pod_is_told_by_empty_volumes": named(fresh(), "a-primray-0@1.3", emptyHere).is(want{person: true, says: "no volume of such a pod"}),
		"own_empty_volume_is_told":              named(fresh(), "a-primary-0@1.3", emptyHere).is(want{person: true, says: "a-replica-0@1.3"}),
		"another_empty_volume_is_told":          named(base(), "a-replica-0@1.3", func(f *Facts) { f.Others.Empty = []string{"a-replica-0"} }).is(want{person: true, says: "is empty"}),
		"copy_is_not_adopted":                   named(base(), "a-primary-0@1.3", func(f *Facts) { f.Local.State.Volume.Noted = "pvc-z" }).is(want{person: true, says: "copy"}),
		"another_is_waited_for":                 named(base(), "a-replica-0@1.3", nil).is(want{says: "waiting for it"}),
		"another_is_waited_for_by_an_empty_one": named(fresh(), "a-replica-0@1.3", emptyHere).is(want{says: "waiting for it"}),
		"holder_of_the_removed_lease_may_be_in_force": named(base(), "a-primary-0@1.3", func(f *Facts) {
			f.Store.Vacant, f.Store.AbsentWait = time.Second, 8*time.Second
		}).is(want{says: "no lease for less than 8s"}),
	})
}

// The same word must never act again after it has acted, whatever has happened since.
func TestAdoptionActsOnlyOnce(t *testing.T) {
	for _, adopt := range []string{"a-primary-0@1.3", "a-primary-0@1.250", "a-primary-0@1.99"} {
		f := base()
		f.Adopt = adopt
		first := Judge(f)
		if first.Do != Create {
			t.Fatalf("%s: %s: %s", adopt, first.Do, first.Reason)
		}
		// Its volume may hold far more than its checkpoint says: before it has been replayed nobody else may be elected.
		if s := first.Record.Sync; s == nil || s.K != 0 || len(s.Members) > 0 {
			t.Errorf("%s: the record lets others succeed a leader of whom nobody knows what it has: %+v", adopt, s)
		}
		f.Local.State.Volume.HighestEpoch = first.Record.Epoch // noted before the promotion
		if again := Judge(f); again.Do != Nothing || !again.Person {
			t.Errorf("%s acts again: %s", adopt, again.Reason)
		}
	}
}

// The words that the sentence gives are those that are understood.
func TestToldWordsAreTheOnesThatAct(t *testing.T) {
	f := base()
	f.Others.Volumes[1].Epoch = at(12)
	told := Judge(f).Reason
	_, rest, _ := strings.Cut(told, "set the value bootstrap.adopt to ")
	f.Adopt, _, _ = strings.Cut(rest, " ")
	if v := Judge(f); f.Adopt != "a-primary-0@1.12" || v.Do != Create {
		t.Errorf("told %q; adopt %q gives %s: %s", told, f.Adopt, v.Do, v.Reason)
	}
}
