package timeline

import (
	"slices"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

func TestHistoryFileOfPostgreSQLIsRead(t *testing.T) {
	got, err := ParseHistory("1\t0/3000148\tno recovery target specified\n\n3\t0/5000000\tbefore 2000-01-01 00:00:00+00\n")
	want := []Line{{1, 0x3000148}, {3, 0x5000000}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
	if got, err := ParseHistory(""); err != nil || got != nil {
		t.Errorf("a reserved number's empty file: got %v (%v), want none", got, err)
	}
	for _, text := range []string{"1", "x\t0/1", "1\tnowhere"} {
		if got, err := ParseHistory(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestRelate(t *testing.T) {
	lines := []Line{{1, 0x100}, {3, 0x200}}
	for name, c := range map[string]struct {
		own    uint32
		at     lsn.LSN
		leader uint32
		lines  []Line
		want   Where
		beyond int64
	}{
		"same_timeline":                           {own: 5, at: 0x999, leader: 5, lines: lines, want: On},
		"earlier_timeline_before_it_was_left":     {own: 3, at: 0x1ff, leader: 5, lines: lines, want: On},
		"exactly_where_it_was_left":               {own: 3, at: 0x200, leader: 5, lines: lines, want: On},
		"one_record_past_the_fork":                {own: 3, at: 0x230, leader: 5, lines: lines, want: Ahead, beyond: 0x30},
		"far_past_an_older_fork":                  {own: 1, at: 0x1100, leader: 5, lines: lines, want: Ahead, beyond: 0x1000},
		"reserved_number_that_was_never_followed": {own: 4, at: 0x150, leader: 5, lines: lines, want: Apart},
		"newer_than_the_leader":                   {own: 6, at: 0x150, leader: 5, lines: lines, want: Apart},
		"history_not_told_yet":                    {own: 3, at: 0x150, leader: 5, want: Unknown},
		"first_timeline_has_no_history":           {own: 2, at: 0x150, leader: 1, want: Apart},
	} {
		t.Run(name, func(t *testing.T) {
			got, beyond := Relate(c.own, c.at, c.leader, c.lines)
			if got != c.want || beyond != c.beyond {
				t.Errorf("got %s %d, want %s %d", got, beyond, c.want, c.beyond)
			}
		})
	}
}
