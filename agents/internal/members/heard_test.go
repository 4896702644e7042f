package members

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestWhoIsNotHeardLeavesTheListButNotTheLastOne(t *testing.T) {
	all := []record.Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	ids := func(l []record.Member) string {
		var out []string
		for _, m := range l {
			out = append(out, m.ID)
		}
		return strings.Join(out, "")
	}
	type silence = map[string]time.Duration
	for name, c := range map[string]struct {
		all    []record.Member
		silent silence
		want   string
	}{
		"all_are_heard":                  {all, silence{}, "abc "},
		"one_is_away_for_a_moment":       {all, silence{"b": Patience - 1}, "abc "},
		"one_is_away":                    {all, silence{"b": Patience}, "ac b"},
		"both_are_away_the_later_stays":  {all, silence{"b": 2 * time.Minute, "c": time.Minute}, "ac b"},
		"both_are_away_for_equally_long": {all, silence{"b": time.Minute, "c": time.Minute}, "ab c"},
		"the_leader_never_leaves":        {all, silence{"a": time.Hour, "b": time.Hour}, "ac b"},
		"the_only_other_one_stays":       {all[:2], silence{"b": time.Hour}, "ab "},
		"alone":                          {all[:1], silence{"a": time.Hour}, "a "},
	} {
		listed, unheard := Heard(c.all, "a", c.silent)
		if got := ids(listed) + " " + ids(unheard); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if got := ids(With(listed, append(unheard, listed...))); len(got) != len(c.all) {
			t.Errorf("%s: together: got %q", name, got)
		}
	}
}
