package quorum

import (
	"strings"
	"testing"
	"time"
)

func TestNextStep(t *testing.T) {
	set := func(k int, members ...string) *Set { return &Set{K: k, Members: members} }
	up, behind := Member{Streams: true, CaughtUp: true}, Member{Streams: true}
	away := func(d time.Duration) Member { return Member{Away: d} }
	type members = map[string]Member
	for name, c := range map[string]struct {
		f     Facts
		order *Set   // nil: none
		write string // "": none, "-": no set any more, otherwise the set
		says  string
	}{
		"nothing_is_done_while_a_write_is_not_confirmed": {Facts{Mode: Any, Number: 1, Record: set(1, "b"), Pending: true, Ordered: *set(1, "b")}, nil, "", "not confirmed"},
		"off_stays_off":                    {Facts{Mode: Off}, nil, "", ""},
		"turned_off_the_record_is_first":   {Facts{Mode: Off, Record: set(1, "b"), Ordered: *set(1, "b")}, nil, "-", "off"},
		"turned_off_the_server_follows":    {Facts{Mode: Off, Ordered: *set(1, "b")}, &Set{}, "", "off"},
		"turned_on_the_record_knows_first": {Facts{Mode: Any, Number: 1, Members: members{"b": up}}, nil, Set{}.String(), "on"},
		"alone_commits_wait_for_nobody":    {Facts{Mode: Any, Number: 1, Record: set(0), Ordered: Nobody()}, &Set{}, "", "although 1"},
		"alone_in_strict_mode_they_wait":   {Facts{Mode: Strict, Number: 1, Record: set(0), Ordered: Nobody()}, nil, "", "strict"},
		"stronger_the_server_is_first":     {Facts{Mode: Any, Number: 1, Record: set(0), Members: members{"b": behind}}, set(1, "b"), "", "1 of b"},
		"stronger_waits_for_the_reload":    {Facts{Mode: Any, Number: 1, Record: set(0), Ordered: *set(1, "b"), Members: members{"b": up}}, nil, "", "every process"},
		"stronger_waits_for_who_is_behind": {Facts{Mode: Any, Number: 1, Record: set(0), Ordered: *set(1, "b"), InForce: true, Members: members{"b": behind}}, nil, "", "caught up"},
		"stronger_then_the_record":         {Facts{Mode: Any, Number: 1, Record: set(0), Ordered: *set(1, "b"), InForce: true, Members: members{"b": up}}, nil, "1 of b", "1 of b"},
		"settled":                          {Facts{Mode: Any, Number: 1, Record: set(1, "b"), Ordered: *set(1, "b"), InForce: true, Members: members{"b": up}}, nil, "", "1 of b"},
		"who_does_not_stream_is_not_added": {Facts{Mode: Any, Number: 1, Record: set(0), Members: members{"b": away(0)}}, nil, "", "nobody"},
		"away_for_a_moment_stays":          {Facts{Mode: Any, Number: 1, Record: set(1, "b"), Ordered: *set(1, "b"), Members: members{"b": away(Patience - 1)}}, nil, "", "not streaming: b"},
		"weaker_the_record_is_first":       {Facts{Mode: Any, Number: 1, Record: set(1, "b"), Ordered: *set(1, "b"), Members: members{"b": away(Patience)}}, nil, Set{}.String(), "not streaming: b"},
		"weaker_then_the_server":           {Facts{Mode: Any, Number: 1, Record: set(0), Ordered: *set(1, "b"), Members: members{"b": away(Patience)}}, &Set{}, "", "nobody"},
		"strict_never_weakens":             {Facts{Mode: Strict, Number: 1, Record: set(1, "b"), Ordered: *set(1, "b"), InForce: true, Members: members{"b": away(time.Hour)}}, nil, "", "not streaming: b"},
		"strict_with_too_few_of_more":      {Facts{Mode: Strict, Number: 2, Record: set(1, "b"), Ordered: *set(1, "b"), Members: members{"b": up}}, &Set{K: 1}, "", "until 2"},
		"one_of_two_is_gone":               {Facts{Mode: Any, Number: 1, Record: set(1, "b", "c"), Ordered: *set(1, "b", "c"), InForce: true, Members: members{"b": up, "c": away(Patience)}}, set(1, "b"), "", "not streaming: c"},
		"the_other_must_have_all_first":    {Facts{Mode: Any, Number: 1, Record: set(1, "b", "c"), Ordered: *set(1, "b"), InForce: true, Members: members{"b": behind, "c": away(Patience)}}, nil, "", "caught up"},
		"one_of_both_is_gone":              {Facts{Mode: Any, Number: 2, Record: set(2, "b", "c"), Ordered: *set(2, "b", "c"), Members: members{"b": up, "c": away(Patience)}}, nil, "1 of b", "although 2"},
		"one_more_in_the_record_first":     {Facts{Mode: Any, Number: 1, Record: set(1, "b"), Ordered: *set(1, "b"), Members: members{"b": up, "c": behind}}, nil, "1 of b, c", "1 of b, c"},
		"replaced_by_another_over_both":    {Facts{Mode: Any, Number: 1, Record: set(1, "b"), Ordered: *set(1, "b"), InForce: true, Members: members{"b": away(Patience), "c": behind}}, nil, "1 of b, c", "before that"},
		"two_replaced_by_one": {Facts{Mode: Any, Number: 2, Record: set(2, "b", "c"), Ordered: *set(2, "b", "c"), InForce: true,
			Members: members{"b": away(Patience), "c": away(Patience), "d": up}}, nil, "1 of b, c, d", "before that"},
		"new_leader_waits_for_the_old_set":                    {Facts{Mode: Any, Number: 1, Leader: "b", Record: set(1, "b", "c"), Ordered: Nobody(), Members: members{"a": away(0), "c": away(0)}}, set(1, "c"), "", "1 of c"},
		"new_leader_alone_in_the_old_set_waits_for_who_voted": {Facts{Mode: Any, Number: 1, Leader: "b", Record: set(1, "b"), Ordered: Nobody(), Members: members{"a": away(0), "c": {Voted: true}}}, set(1, "c"), "", "not streaming: c"},
		"but_not_for_ever":                                    {Facts{Mode: Any, Number: 1, Leader: "b", Record: set(1, "b"), Ordered: Nobody(), Members: members{"c": {Voted: true, Away: Patience}}}, &Set{}, "", "although 1"},
		"new_leader_keeps_the_record":                         {Facts{Mode: Any, Number: 1, Leader: "b", Record: set(1, "b", "c"), Ordered: *set(1, "c"), InForce: true, Members: members{"c": behind}}, nil, "", "caught up"},
		"unlisted_member_leaves_the_record":                   {Facts{Mode: Any, Number: 1, Record: set(1, "b", "c"), Ordered: *set(1, "b"), InForce: true, Members: members{"b": up}}, nil, "1 of b", "1 of b"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.f.Leader == "" {
				c.f.Leader = "a"
			}
			s := Next(c.f)
			write := ""
			if s.Write {
				write = "-"
				if s.Record != nil {
					write = s.Record.String()
				}
			}
			if write != c.write {
				t.Errorf("write: got %q, want %q (%s)", write, c.write, s.Reason)
			}
			if (s.Order == nil) != (c.order == nil) || s.Order != nil && !s.Order.Equal(*c.order) {
				t.Errorf("order: got %v, want %v (%s)", s.Order, c.order, s.Reason)
			}
			if s.Reason == "" != (c.says == "") || !strings.Contains(s.Reason, c.says) {
				t.Errorf("reason: got %q, want %q in it", s.Reason, c.says)
			}
		})
	}
}
