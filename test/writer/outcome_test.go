package writer

import (
	"errors"
	"testing"
	"time"
)

func at(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }

func ack(id int64, ms int, server string) Attempt {
	return Attempt{ID: id, Sent: at(ms - 1), Acked: at(ms), Server: server}
}

func TestJudge(t *testing.T) {
	failed := Attempt{ID: 3, Sent: at(30), Err: errors.New("gone")}
	warned := ack(4, 40, "a")
	warned.Warned = true
	cases := map[string]struct {
		log  []Attempt
		rows []int64
		end  time.Time
		want Outcome
	}{
		"nothing_happened": {[]Attempt{ack(1, 10, "a"), ack(2, 20, "a")}, []int64{1, 2}, time.Time{}, Outcome{Acked: 2, Gap: 10 * time.Millisecond}},
		"acknowledged_row_is_missing": {[]Attempt{ack(1, 10, "a"), ack(2, 20, "a")}, []int64{1}, time.Time{},
			Outcome{Acked: 2, Gap: 10 * time.Millisecond, Lost: []int64{2}}},
		"unacknowledged_row_is_there": {[]Attempt{ack(1, 10, "a"), failed}, []int64{1, 3}, time.Time{}, Outcome{Acked: 1, Gap: 10 * time.Millisecond, InDoubt: 1}},
		"warned_row_is_missing":       {[]Attempt{ack(1, 10, "a"), warned}, []int64{1}, time.Time{}, Outcome{Acked: 1, Gap: 10 * time.Millisecond}},
		"row_nobody_wrote":            {[]Attempt{ack(1, 10, "a")}, []int64{1, 9}, time.Time{}, Outcome{Acked: 1, Gap: 10 * time.Millisecond, Phantom: []int64{9}}},
		"writes_never_came_back":      {[]Attempt{ack(1, 10, "a")}, []int64{1}, at(500), Outcome{Acked: 1, Gap: 490 * time.Millisecond}},
		"two_servers_acknowledge": {[]Attempt{ack(1, 10, "a"), ack(2, 20, "b"), ack(3, 50, "a"), ack(4, 60, "b")}, []int64{1, 2, 3, 4}, time.Time{},
			Outcome{Acked: 4, Gap: 30 * time.Millisecond, Overlap: 30 * time.Millisecond}},
		"a_server_leads_again_in_another_reign": {[]Attempt{ack(1, 10, "a/1"), ack(2, 20, "b/2"), ack(3, 30, "a/3"), ack(4, 40, "b/4")}, []int64{1, 2, 3, 4}, time.Time{},
			Outcome{Acked: 4, Gap: 10 * time.Millisecond}},
		"failover_without_overlap": {[]Attempt{ack(1, 10, "a"), ack(2, 90, "b")}, []int64{1, 2}, time.Time{}, Outcome{Acked: 2, Gap: 80 * time.Millisecond}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rows := map[int64]bool{}
			for _, id := range c.rows {
				rows[id] = true
			}
			got := Judge(c.log, rows, at(0), c.end)
			if got.Acked != c.want.Acked || got.Gap != c.want.Gap || got.InDoubt != c.want.InDoubt || got.Overlap != c.want.Overlap ||
				len(got.Lost) != len(c.want.Lost) || len(got.Phantom) != len(c.want.Phantom) {
				t.Errorf("Judge = %v, want %v", got, c.want)
			}
		})
	}
}

func TestZombie(t *testing.T) {
	unanswered := Attempt{ID: 12, Sent: at(60)}
	cases := map[string]struct {
		log, held []Attempt
		want      time.Duration
	}{
		"old_server_ends_before_the_new_one_begins": {[]Attempt{ack(1, 10, "a"), ack(2, 90, "b")}, []Attempt{ack(10, 15, "a"), ack(11, 80, "a")}, 0},
		"deposed_server_acknowledges":               {[]Attempt{ack(1, 10, "a"), ack(2, 90, "b"), ack(3, 95, "b")}, []Attempt{ack(10, 15, "a"), ack(11, 120, "a")}, 30 * time.Millisecond},
		"deposed_server_never_answers":              {[]Attempt{ack(1, 10, "a"), ack(2, 90, "b")}, []Attempt{ack(10, 15, "a"), unanswered}, 0},
		"nothing_happened":                          {[]Attempt{ack(1, 10, "a"), ack(2, 90, "a")}, []Attempt{ack(10, 15, "a"), ack(11, 120, "a")}, 0},
		"another_server_led_before":                 {[]Attempt{ack(1, 1, "b"), ack(2, 10, "a")}, []Attempt{ack(10, 15, "a"), ack(11, 120, "a")}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Zombie(c.log, c.held); got != c.want {
				t.Errorf("Zombie = %s, want %s", got, c.want)
			}
		})
	}
}
