package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func at(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }

func TestHistoriesThatAreNotLinearizable(t *testing.T) {
	type step struct {
		client     int
		write      bool
		value      int64
		from, till int // till 0: no answer
	}
	cases := map[string]struct {
		steps []step
		want  string
	}{
		"read_of_the_last_write":              {[]step{{0, true, 5, 0, 10}, {1, false, 5, 20, 30}}, "linearizable"},
		"acknowledged_write_is_lost":          {[]step{{0, true, 5, 0, 10}, {1, false, 0, 20, 30}}, "violated"},
		"register_goes_back":                  {[]step{{0, true, 5, 0, 10}, {0, true, 6, 20, 30}, {1, false, 6, 40, 50}, {1, false, 5, 60, 70}}, "violated"},
		"write_in_doubt_is_seen":              {[]step{{0, true, 5, 0, 0}, {1, false, 5, 20, 30}}, "linearizable"},
		"write_in_doubt_is_never_seen":        {[]step{{0, true, 5, 0, 0}, {1, false, 0, 20, 30}}, "linearizable"},
		"write_in_doubt_is_seen_and_is_gone":  {[]step{{0, true, 5, 0, 0}, {1, false, 5, 20, 30}, {1, false, 0, 40, 50}}, "violated"},
		"write_in_doubt_happens_much_later":   {[]step{{0, true, 5, 0, 0}, {1, true, 6, 20, 30}, {1, false, 6, 40, 50}, {2, false, 5, 60, 70}}, "linearizable"},
		"two_writers_and_their_two_readers":   {[]step{{0, true, 5, 0, 10}, {1, true, 6, 20, 30}, {2, false, 6, 40, 50}, {3, false, 5, 40, 50}}, "violated"},
		"reads_that_overlap_with_a_write":     {[]step{{0, true, 5, 0, 100}, {1, false, 0, 10, 20}, {2, false, 5, 30, 40}}, "linearizable"},
		"reads_that_disagree_about_the_order": {[]step{{0, true, 5, 0, 100}, {1, false, 5, 10, 20}, {2, false, 0, 30, 40}}, "violated"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := &history{}
			for _, s := range c.steps {
				end := at(s.till)
				if s.till == 0 {
					end = time.Time{}
				}
				h.add(s.client, op{3, s.write, s.value}, s.value, at(s.from), end)
			}
			got, err := h.check(10 * time.Second)
			if got != c.want || (err != nil) != (c.want == "violated") {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), "register 3 went back:\n") {
				t.Errorf("the error does not show what was said: %v", err)
			}
		})
	}
}

func TestScheduleFollowsFromTheSeed(t *testing.T) {
	modes := []string{modeAsync, modeAny, modeStrict}
	one, again, other := plan(7, 10*time.Minute, 4*time.Minute, modes), plan(7, 10*time.Minute, 4*time.Minute, modes), plan(8, 10*time.Minute, 4*time.Minute, modes)
	if !reflect.DeepEqual(one, again) || reflect.DeepEqual(one, other) {
		t.Error("the same seed is another schedule, or another seed the same")
	}
	if len(one) != 3 || one[2].mode != modeStrict || one[2].length != 2*time.Minute {
		t.Errorf("got %d turns", len(one))
	}
	seen := map[string]bool{}
	for seed := range uint64(20) {
		for _, turn := range plan(seed, 10*time.Minute, 4*time.Minute, modes) {
			for _, f := range turn.faults {
				seen[f.kind] = true
			}
		}
	}
	for _, k := range kinds {
		if !seen[k.kind] {
			t.Errorf("%s never happens", k.kind)
		}
	}
}

func TestWhatTheServerRefusedWasNotWritten(t *testing.T) {
	for code, want := range map[string]bool{"25006": true, "57P01": false, "57014": false} {
		if got := certainlyNot(fmt.Errorf("insert: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s: got %v, want %v", code, got, want)
		}
	}
	if certainlyNot(errors.New("connection reset")) {
		t.Error("a broken connection says nothing")
	}
}
