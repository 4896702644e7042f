package timeline

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

func TestFork(t *testing.T) {
	past := []Line{{1, 0x100}, {2, 0x200}}
	for name, tc := range map[string]struct {
		own        uint32
		ownLines   []Line
		other      uint32
		otherLines []Line
		line       uint32
		at         lsn.LSN
		ok         bool
	}{
		"one_past":                               {3, past, 3, past, 3, Never, true},
		"both_on_the_first":                      {1, nil, 1, nil, 1, Never, true},
		"left_behind":                            {2, past[:1], 3, past, 2, 0x200, true},
		"far_behind":                             {1, nil, 3, past, 1, 0x100, true},
		"ahead_of_a_leader_that_never_left":      {3, past, 2, past[:1], 2, 0x200, true},
		"two_from_one":                           {2, past[:1], 3, past[:1], 1, 0x100, true},
		"one_number_begun_in_two_places":         {2, []Line{{1, 0x180}}, 2, past[:1], 1, 0x100, true},
		"one_number_begun_in_two_places_further": {4, []Line{{1, 0x100}, {2, 0x280}, {3, 0x300}}, 4, []Line{{1, 0x100}, {2, 0x200}, {3, 0x300}}, 2, 0x200, true},
		"other_left_earlier":                     {3, past, 4, []Line{{1, 0x80}}, 1, 0x80, true},
		"nothing_in_common":                      {2, nil, 3, past, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			line, at, ok := Fork(tc.own, tc.ownLines, tc.other, tc.otherLines)
			if line != tc.line || at != tc.at || ok != tc.ok {
				t.Errorf("got timeline %d at %s %v, want %d at %s %v", line, at, ok, tc.line, tc.at, tc.ok)
			}
			// It is the same fork from the other side.
			if l, a, o := Fork(tc.other, tc.otherLines, tc.own, tc.ownLines); l != line || a != at || o != ok {
				t.Errorf("from the other side: timeline %d at %s %v", l, a, o)
			}
		})
	}
}
