package main

import (
	"bufio"
	"strings"
	"testing"
)

func TestWholeProductLacksNothing(t *testing.T) {
	good := func() standing {
		return standing{answered: true, streaming: 2, caughtUp: 2, members: []member{
			{name: "db-0", node: "a1", ready: true}, {name: "db-1", node: "a2", ready: true, writes: true}, {name: "db-2", node: "a3", ready: true},
		}}
	}
	for name, c := range map[string]struct {
		change func(*standing)
		want   string
	}{
		"whole":                    {func(*standing) {}, ""},
		"member_is_away":           {func(s *standing) { s.members = s.members[1:] }, "2 pods"},
		"member_is_not_ready":      {func(s *standing) { s.members[0].ready = false }, "2 of 3 pods ready"},
		"two_on_one_node":          {func(s *standing) { s.members[0].node = "a2" }, "on 2 nodes only"},
		"server_does_not_answer":   {func(s *standing) { s.answered = false }, "does not answer"},
		"nobody_writes":            {func(s *standing) { s.members[1].writes = false }, "not one member"},
		"two_write":                {func(s *standing) { s.members[2].writes = true }, "not one member"},
		"replica_does_not_stream":  {func(s *standing) { s.streaming, s.caughtUp = 1, 1 }, "1 replicas stream"},
		"replica_has_not_replayed": {func(s *standing) { s.caughtUp = 1 }, "1 of 2 replicas have replayed all"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			c.change(&s)
			if got := s.missing(); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestConfigurationOfPatroniIsComparedAsItTellsIt(t *testing.T) {
	floor, usual := patroniSettings(patroniTuned, modeAsync), patroniSettings(patroniDefault, modeAsync)
	live := func() map[string]any {
		return map[string]any{"ttl": 20.0, "loop_wait": 1.0, "retry_timeout": 3.0, "primary_start_timeout": 0.0, "synchronous_mode": false, "postgresql": map[string]any{}}
	}
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   map[string]any
		is     bool
	}{
		"floor":     {func(map[string]any) {}, floor, true},
		"other_arm": {func(map[string]any) {}, usual, false},
		"default_without_a_start_timeout": {func(m map[string]any) {
			m["ttl"], m["loop_wait"], m["retry_timeout"] = 30.0, 10.0, 10.0
			delete(m, "primary_start_timeout")
		}, usual, true},
		"default_with_floors_timeout":    {func(m map[string]any) { m["ttl"], m["loop_wait"], m["retry_timeout"] = 30.0, 10.0, 10.0 }, usual, false},
		"never_told_of_synchronous_mode": {func(m map[string]any) { delete(m, "synchronous_mode") }, floor, true},
		"still_in_synchronous_mode":      {func(m map[string]any) { m["synchronous_mode"] = true }, floor, false},
		"floor_wants_a_start_timeout":    {func(m map[string]any) { delete(m, "primary_start_timeout") }, floor, false},
	} {
		t.Run(name, func(t *testing.T) {
			now := live()
			c.change(now)
			if got := settled(now, c.want); got != c.is {
				t.Errorf("got %v, want %v", got, c.is)
			}
		})
	}
}

func TestModeIsWhatTheServerWaitsFor(t *testing.T) {
	for name, c := range map[string]struct {
		mode, list string
		want       bool
	}{
		"waits_for_nobody":           {modeAsync, "", true},
		"still_waits":                {modeAsync, "ANY 1 (pgspan_a, pgspan_b)", false},
		"waits_for_any":              {modeSync, "ANY 1 (pgspan_a, pgspan_b)", true},
		"list_that_nobody_meets":     {modeSync, "ANY 1 (pgspan_nobody)", false},
		"does_not_wait_yet":          {modeSync, "", false},
		"nobody_in_asynchronous_too": {modeAsync, "ANY 1 (pgspan_nobody)", false},
	} {
		if got := waitsAs(c.mode, c.list); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestEpochOfTheRecord(t *testing.T) {
	if n, err := epochOf(`{"format":1,"epoch":{"site":1,"local":7},"reign":"x"}`); err != nil || n != 7 {
		t.Errorf("got %d, %v", n, err)
	}
	for _, text := range []string{"", "{}", "rubbish"} {
		if n, err := epochOf(text); err == nil {
			t.Errorf("%q: got %d", text, n)
		}
	}
}

func TestLogOfAKilledSessionIsRead(t *testing.T) {
	const two = `{"id":1,"sent":"2026-01-02T03:04:05.1Z","acked":"2026-01-02T03:04:05.2Z","server":"a","warned":false,"error":""}
{"id":2,"sent":"2026-01-02T03:04:06Z","acked":"0001-01-01T00:00:00Z","server":"","warned":false,"error":"gone"}
`
	for name, text := range map[string]string{"whole": two, "cut_off": two + `{"id":3,"sent":"2026-01-`} {
		all, err := readAttempts(bufio.NewScanner(strings.NewReader(text)))
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: got %v, %v", name, all, err)
		}
		if a := all[0]; a.ID != 1 || a.Server != "a" || a.Err != nil || a.Acked.Sub(a.Sent).Milliseconds() != 100 {
			t.Errorf("%s: got %+v", name, a)
		}
		if a := all[1]; !a.Acked.IsZero() || a.Err == nil {
			t.Errorf("%s: got %+v", name, a)
		}
	}
	if all, err := readAttempts(bufio.NewScanner(strings.NewReader("rubbish\n" + two))); err == nil {
		t.Errorf("rubbish in the middle: got %v", all)
	}
}
