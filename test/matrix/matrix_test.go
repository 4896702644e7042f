package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	here := func(Test) error { return nil }
	gone := func(Test) error { return errors.New("there is no such test") }
	passed := map[Test]Result{"d:TestA": {Result: "pass"}, "d:TestB": {Result: "pass"}}
	cases := map[string]struct {
		line    Line
		missing func(Test) error
		results map[Test]Result
		full    bool
		state   string
		bad     bool
	}{
		"line_without_a_test":               {Line{}, here, nil, false, "NO TEST", true},
		"line_that_says_what_is_missing":    {Line{Missing: "all"}, here, nil, false, "NO TEST", true},
		"test_that_does_not_exist":          {Line{Quick: []Test{"d:TestA"}}, gone, passed, false, "NO SUCH TEST", true},
		"test_that_passed":                  {Line{Quick: []Test{"d:TestA"}}, here, passed, true, "ok", false},
		"one_of_two_failed":                 {Line{Quick: []Test{"d:TestA", "d:TestC"}}, here, map[Test]Result{"d:TestA": {Result: "pass"}, "d:TestC": {Result: "fail"}}, false, "FAILED", true},
		"test_that_was_not_run":             {Line{Quick: []Test{"d:TestC"}}, here, passed, false, "not run", false},
		"test_that_was_not_run_where_asked": {Line{Quick: []Test{"d:TestC"}}, here, passed, true, "not run", true},
		"skipped_is_not_run":                {Line{Quick: []Test{"d:TestC"}}, here, map[Test]Result{"d:TestC": {Result: "skip"}}, true, "not run", true},
		"long_form_need_not_have_been_run":  {Line{Quick: []Test{"d:TestA"}, Long: []Test{"d:TestL"}}, here, passed, true, "ok", false},
		"line_of_long_tests_only":           {Line{Long: []Test{"d:TestL"}}, here, passed, false, "not run", false},
		"long_form_that_failed":             {Line{Quick: []Test{"d:TestA"}, Long: []Test{"d:TestL"}}, here, map[Test]Result{"d:TestL": {Result: "fail"}}, false, "FAILED", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Judge(c.line, c.missing, c.results, c.full); got.State != c.state || got.Bad != c.bad {
				t.Errorf("got %s, bad %v, want %s, %v", got.State, got.Bad, c.state, c.bad)
			}
		})
	}
}

func TestLinesAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"groups: [{title: a, lines: [{line: x, quik: []}]}]":                      "unknown field",
		"groups: [{title: a, lines: [{line: x}, {line: x}]}]":                     "twice",
		"groups: [{title: a, lines: [{line: x, quick: [TestWithoutDirectory]}]}]": "names no test",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// The lines of the repository itself: every test that is named exists. That every line has one, and how it ended, is what make matrix looks at.
func TestLinesNameTestsThatExist(t *testing.T) {
	m, err := Load("lines.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := NewTests("../..")
	for _, g := range m.Groups {
		for _, l := range g.Lines {
			for _, named := range l.Tests() {
				if err := tests.Missing(named); err != nil {
					t.Errorf("%s: %v", l.Line, err)
				}
			}
		}
	}
}

func TestSubtestsAreFoundInTheSource(t *testing.T) {
	tests := NewTests("../..")
	for test, exists := range map[Test]bool{
		"test/matrix:TestJudge":                   true,
		"test/matrix:TestJudge/test_that_passed":  true,
		"test/matrix:TestJudge/no such" + "thing": false,
		"test/matrix:TestNobodyWrote":             false,
		"make:check":                              true, "make:nothing": false,
		"test/nowhere:TestJudge":                         false,
		"agents/internal/explore:TestEveryRuleIsNeeded":  true,
		"agents/internal/explore:TestEveryRuleIsNeededs": false,
	} {
		if err := tests.Missing(test); (err == nil) != exists {
			t.Errorf("%s: got %v, want it to exist: %v", test, err, exists)
		}
	}
}

func TestResultsOfARun(t *testing.T) {
	dir := t.TempDir()
	events := `{"Time":"2026-01-02T03:04:05Z","Action":"output","Package":"github.com/pgspan/pgspan/test/x","Test":"TestA","Output":"quiet\n"}
{"Time":"2026-01-02T03:04:05Z","Action":"pass","Package":"github.com/pgspan/pgspan/test/x","Test":"TestA","Elapsed":1.5}
{"Time":"2026-01-02T03:04:06Z","Action":"output","Package":"github.com/pgspan/pgspan/test/x","Test":"TestB/sub","Output":"what went wrong\n"}
{"Time":"2026-01-02T03:04:06Z","Action":"fail","Package":"github.com/pgspan/pgspan/test/x","Test":"TestB/sub","Elapsed":0.5}
{"Time":"2026-01-02T03:04:06Z","Action":"fail","Package":"github.com/pgspan/pgspan/test/x","Test":"TestB","Elapsed":0.5}
a complaint of the compiler
{"Time":"2026-01-02T03:04:07Z","Action":"output","Package":"github.com/pgspan/pgspan/test/x","Output":"FAIL\tx\n"}
`
	for range 2 { // the second run does not make the file longer
		s, err := openStore(dir, "unit", "v1")
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		r := &reader{to: &out, keep: s.add}
		if err := r.read(strings.NewReader(events)); err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if got, want := out.String(), "what went wrong\na complaint of the compiler\nFAIL\tx\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	results, err := Results(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Result{"test/x:TestB/sub", "fail", 0.5, time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), "v1"}
	if got := results["test/x:TestB/sub"]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if results["test/x:TestA"].Result != "pass" {
		t.Errorf("got %+v", results["test/x:TestA"])
	}
	if b, err := os.ReadFile(dir + "/unit.jsonl"); err != nil || strings.Count(string(b), "\n") > 6 {
		t.Errorf("%d lines, %v", strings.Count(string(b), "\n"), err)
	}
}
