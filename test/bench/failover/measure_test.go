package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgspan/pgspan/test/writer"
)

func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func ack(id int64, ms int, server string) writer.Attempt {
	return writer.Attempt{ID: id, Sent: at(ms - 1), Acked: at(ms), Server: server}
}

func there(ids ...int64) map[int64]bool {
	m := map[int64]bool{}
	for _, id := range ids {
		m[id] = true
	}
	return m
}

func TestFigures(t *testing.T) {
	usual := observed{
		log:  []writer.Attempt{ack(1, -10, "a"), ack(2, 5, "a"), {ID: 3, Sent: at(15), Err: errors.New("gone")}, ack(4, 800, "b"), ack(5, 810, "b")},
		rows: there(1, 2, 3, 4, 5), held: []writer.Attempt{ack(1, -5, "a"), ack(2, 6, "a"), {ID: 3, Sent: at(16), Err: errors.New("gone")}}, left: there(1, 2),
		old: "a", begin: at(0), end: at(820), recovered: true, bound: time.Minute,
	}
	for name, c := range map[string]struct {
		change func(*observed)
		want   map[string]float64
	}{
		"failover": {func(*observed) {}, map[string]float64{"gap_s": 0.795, "overlap_s": 0, "zombie_acks": 0, "lost": 0, "in_doubt": 1, "held_lost": 0, "held_acked": 2, "failed": 0, "changed": 1}},
		"old_primary_goes_on_acknowledging": {func(o *observed) { o.held = append(o.held, ack(4, 790, "a"), ack(5, 900, "a"), ack(6, 1000, "a")) },
			map[string]float64{"overlap_s": 0.2, "zombie_acks": 2, "held_lost": 3}},
		"acknowledgement_with_a_warning_is_none": {func(o *observed) {
			w := ack(4, 1000, "a")
			w.Warned = true
			o.held = append(o.held, w)
		}, map[string]float64{"overlap_s": 0, "zombie_acks": 0, "held_lost": 0}},
		"common_writer_is_answered_by_both": {func(o *observed) {
			o.log = append(o.log, ack(6, 850, "a"), ack(7, 860, "b"))
			o.rows = there(1, 2, 4, 5, 6, 7)
		},
			map[string]float64{"overlap_s": 0.05}},
		"acknowledged_row_is_gone": {func(o *observed) { delete(o.rows, 2) }, map[string]float64{"lost": 1}},
		"row_nobody_wrote":         {func(o *observed) { o.rows[99], o.left[98] = true, true }, map[string]float64{"phantom": 2}},
		"service_leads_to_a_standby": {func(o *observed) {
			o.log[2].Err = fmt.Errorf("insert: %w", &pgconn.PgError{Code: "25006"})
		}, map[string]float64{"misled": 1}},
		"nobody_can_be_asked":         {func(o *observed) { o.rows, o.left = nil, nil }, map[string]float64{"gap_s": 0.795}},
		"restart_in_place":            {func(o *observed) { o.log[3].Server, o.log[4].Server = "a", "a" }, map[string]float64{"gap_s": 0.795, "changed": 0, "overlap_s": 0}},
		"writes_never_came_back":      {func(o *observed) { o.log, o.recovered = o.log[:3], false }, map[string]float64{"gap_s": 60, "failed": 1, "changed": 0}},
		"long_gap_before_it_gave_up":  {func(o *observed) { o.log, o.recovered, o.end = o.log[:3], false, at(90005) }, map[string]float64{"gap_s": 90, "failed": 1}},
		"pause_before_the_fault":      {func(o *observed) { o.log[0] = ack(1, -9000, "a") }, map[string]float64{"gap_s": 0.795}},
		"zombie_before_anybody_leads": {func(o *observed) { o.held = append(o.held, ack(4, 700, "a")); o.left[4] = true }, map[string]float64{"overlap_s": 0, "zombie_acks": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			o := usual
			o.log, o.held = append([]writer.Attempt(nil), usual.log...), append([]writer.Attempt(nil), usual.held...)
			o.rows, o.left = there(1, 2, 3, 4, 5), there(1, 2)
			c.change(&o)
			got := o.figures()
			if _, ok := got["lost"]; ok != (o.rows != nil) {
				t.Errorf("lost rows are told: %v", ok)
			}
			for k, want := range c.want {
				if v, ok := got[k]; !ok || v != want {
					t.Errorf("%s: got %v, want %v", k, v, want)
				}
			}
		})
	}
}

func TestBack(t *testing.T) {
	flow := func(log []writer.Attempt, server string, from, to int) []writer.Attempt {
		for ms := from; ms <= to; ms += 10 {
			log = append(log, ack(int64(ms), ms, server))
		}
		return log
	}
	broken := writer.Attempt{ID: 9999, Sent: at(50), Err: errors.New("gone")}
	before := flow(nil, "a", -1000, -10)
	for name, c := range map[string]struct {
		log     []writer.Attempt
		now     int
		inPlace bool
		want    bool
	}{
		"other_server_for_two_seconds":      {flow(append(before, broken), "b", 700, 2700), 2710, false, true},
		"other_server_for_one_second":       {flow(append(before, broken), "b", 700, 1700), 1710, false, false},
		"fault_has_not_bitten_yet":          {flow(before, "a", 10, 5000), 5010, false, false},
		"fault_has_not_bitten_yet_in_place": {flow(before, "a", 10, 5000), 5010, true, false},
		"restarted_in_place":                {flow(append(before, broken), "a", 700, 2700), 2710, true, true},
		"same_server_where_it_must_change":  {flow(append(before, broken), "a", 700, 2700), 2710, false, false},
		"stopped_again":                     {flow(append(before, broken), "b", 700, 2700), 3300, false, false},
		"second_pause_begins_it_anew":       {flow(flow(append(before, broken), "b", 700, 2000), "b", 3000, 4000), 4010, false, false},
		"error_before_the_fault":            {flow(append(before, writer.Attempt{ID: 1, Sent: at(-500), Err: errors.New("x")}), "a", 10, 3000), 3010, true, false},
		"nothing_at_all":                    {nil, 10, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := back(c.log, "a", at(0), at(c.now), c.inPlace); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
