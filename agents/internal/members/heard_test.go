package members

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestWhoIsNotHeardLeavesTheListUnlessNobodyElseCouldSucceed(t *testing.T) {
	all := []record.Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	ids := func(l []record.Member) string {
		var out []string
		for _, m := range l {
			out = append(out, m.ID)
		}
		return strings.Join(out, "")
	}
	type of = map[string]Hearing
	able := Hearing{Fit: Able}
	silent := func(d time.Duration, f Fit) Hearing { return Hearing{Silent: d, Fit: f} }
	for name, c := range map[string]struct {
		all  []record.Member
		of   of
		want string
	}{
		"all_are_heard":                                  {all, of{"b": able, "c": able}, "abc "},
		"one_is_away_for_a_moment":                       {all, of{"b": silent(Patience-1, Able), "c": able}, "abc "},
		"one_is_away":                                    {all, of{"b": silent(Patience, Able), "c": able}, "ac b"},
		"both_are_away_the_later_stays":                  {all, of{"b": silent(2*time.Minute, Able), "c": silent(time.Minute, Able)}, "ac b"},
		"both_are_away_for_equally_long":                 {all, of{"b": silent(time.Minute, Able), "c": silent(time.Minute, Able)}, "ab c"},
		"the_leader_never_leaves":                        {all, of{"a": silent(time.Hour, Able), "b": silent(time.Hour, Able), "c": able}, "ac b"},
		"the_only_other_one_stays":                       {all[:2], of{"b": silent(time.Hour, Able)}, "ab "},
		"alone":                                          {all[:1], of{"a": silent(time.Hour, Able)}, "a "},
		"the_other_is_being_cloned_or_never_leads":       {all, of{"b": silent(time.Hour, Able), "c": silent(0, Unfit)}, "abc "},
		"the_other_was_never_heard":                      {all, of{"b": silent(time.Hour, Able), "c": silent(0, Unknown)}, "abc "},
		"both_are_away_and_one_could_not_lead":           {all, of{"b": silent(time.Hour, Able), "c": silent(time.Minute, Unfit)}, "ab c"},
		"both_are_away_and_one_was_never_heard":          {all, of{"b": silent(time.Hour, Able), "c": silent(time.Minute, Unknown)}, "ab c"},
		"whoever_was_never_heard_before_who_cannot_lead": {all, of{"b": silent(time.Hour, Unknown), "c": silent(time.Minute, Unfit)}, "ab c"},
		"commits_are_counted_by_it":                      {all, of{"b": {Silent: time.Hour, Fit: Able, Promised: true}, "c": able}, "abc "},
	} {
		listed, away := Heard(c.all, "a", c.of)
		if got := ids(listed) + " " + ids(away); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
