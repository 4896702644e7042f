package results

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func setting(commit string) Setting {
	return Setting{Commit: commit, Machine: Machine{CPU: "one", Cores: 2}, Parameters: map[string]string{"rounds": "3"}}
}

func open(t *testing.T, path string, s Setting) *Run {
	t.Helper()
	r, err := Open(path, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func add(t *testing.T, r *Run, round string, v float64) {
	t.Helper()
	if err := r.Add(map[string]string{"arm": "ours", "round": round}, map[string]float64{"seconds": v}); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedRunGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(t *testing.T, path string, r *Run) Setting
		want bool // whether it goes on
	}{
		{"stopped_between_two_samples", func(*testing.T, string, *Run) Setting { return setting("abc") }, true},
		{"killed_while_writing_a_line", func(t *testing.T, path string, _ *Run) Setting {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString(`{"run":"2026-01-01T00:00:00Z","kind":"sam`); err != nil {
				t.Fatal(err)
			}
			return setting("abc")
		}, true},
		{"code_has_changed_since", func(*testing.T, string, *Run) Setting { return setting("def") }, false},
		{"other_parameters", func(*testing.T, string, *Run) Setting {
			s := setting("abc")
			s.Parameters = map[string]string{"rounds": "4"}
			return s
		}, false},
		{"it_had_ended", func(t *testing.T, _ string, r *Run) Setting {
			if err := r.End(map[string]int{"n": 1}); err != nil {
				t.Fatal(err)
			}
			return setting("abc")
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bench", "x.jsonl")
			first := open(t, path, setting("abc"))
			if first.Continued {
				t.Error("a first run goes on with another one")
			}
			add(t, first, "1", 10)
			again := tt.then(t, path, first)

			r := open(t, path, again)
			if r.Continued != tt.want || r.Has(map[string]string{"arm": "ours", "round": "1"}) != tt.want {
				t.Errorf("goes on: %v with %d samples, want %v", r.Continued, len(r.Samples), tt.want)
			}
			add(t, r, "2", 20)
			if r.Has(map[string]string{"arm": "ours"}) {
				t.Error("some of its labels are taken for a whole sample")
			}
			if err := r.End(nil); err != nil {
				t.Fatal(err)
			}
			runs, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			want := []float64{20}
			if tt.want {
				want = []float64{10, 20}
			}
			if got := Last(runs).Values("seconds", map[string]string{"arm": "ours"}); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestMoreOfTheSameGoesOnWithARunThatHasEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	first := open(t, path, setting("abc"))
	add(t, first, "1", 10)
	if err := first.End(map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	r, err := Resume(path, setting("abc"))
	if err != nil || !r.Continued || len(r.Samples) != 1 {
		t.Fatalf("got %+v, %v, want the run that has ended", r, err)
	}
	add(t, r, "2", 20)
	if err := r.End(map[string]int{"n": 2}); err != nil {
		t.Fatal(err)
	}
	runs, err := Read(path)
	if err != nil || len(runs) != 1 || string(runs[0].Summary) != `{"n":2}` || len(runs[0].Samples) != 2 {
		t.Errorf("got %+v, %v, want one run with two samples and its second end", runs, err)
	}
	if r, err := Resume(path, setting("def")); err != nil || len(r.Samples) != 0 {
		t.Errorf("other code: got %+v, %v, want a run of its own", r, err)
	}
}

func TestSpoiledFileIsNotTakenForAnEmptyOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	if err := os.WriteFile(path, []byte("{\"run\":\"1\",\"kind\":\"begin\",\"setting\":{}}\nrubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, setting("abc")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v, want an error that names line 2", err)
	}
}

func TestSpreadOf(t *testing.T) {
	got := SpreadOf([]float64{5, 1, 4, 2, 3})
	if want := (Spread{N: 5, Median: 3, P95: 4.8, Min: 1, Max: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := SpreadOf([]float64{7}); got.Median != 7 || got.P95 != 7 {
		t.Errorf("of one value: got %+v", got)
	}
	if got := SpreadOf(nil); got.N != 0 {
		t.Errorf("of nothing: got %+v", got)
	}
	if got := Round(0.000123456); got != 0.0001235 {
		t.Errorf("got %v, want four digits", got)
	}
}

func TestFit(t *testing.T) {
	l, ok := Fit([]float64{1, 2, 4}, []float64{5, 7, 11})
	if !ok || math.Abs(l.A-3) > 1e-9 || math.Abs(l.B-2) > 1e-9 || math.Abs(l.R2-1) > 1e-9 {
		t.Errorf("got %+v, %v, want 3 + 2x", l, ok)
	}
	if l, ok := Fit([]float64{1, 2, 3, 4}, []float64{1, 9, 1, 9}); !ok || l.R2 > 0.5 {
		t.Errorf("noise has %+v", l)
	}
	if _, ok := Fit([]float64{1, 2}, []float64{1, 2}); ok {
		t.Error("any line goes through two points")
	}
}

func TestPageIsWrittenBesideItsRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	r := open(t, path, setting("abc"))
	add(t, r, "1", 10)
	chart := Chart{Title: "a < b", X: "x", Y: "y", Series: []Series{
		{Name: "ours & theirs", Points: [][2]float64{{0, 1}, {3999, 27}}, Line: true}, {Name: "goal", Points: [][2]float64{{0, 20}, {3999, 20}}, Limit: true},
	}}
	page := Page{Title: "A speed", Text: "What.", Run: r, Head: []string{"arm", "s"}, Rows: [][]string{{"ours", "10"}}, Chart: &chart, Notes: []string{"only once"}}
	if err := page.Write(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(strings.TrimSuffix(path, "jsonl") + "md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# A speed\n", "commit abc, on 2 × one", "| arm | s |\n| --- | ---: |\n| ours | 10 |\n", "- only once", "](x.svg)"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is missing in\n%s", want, b)
		}
	}
	picture, err := os.Open(strings.TrimSuffix(path, "jsonl") + "svg")
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	circles, lines := 0, 0
	for d := xml.NewDecoder(picture); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		} else if ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if circles != 2 || lines != 2 {
		t.Errorf("%d points and %d lines, want 2 and 2", circles, lines)
	}
}

func TestScaleIsRoundAndReachesTheTop(t *testing.T) {
	for _, most := range []float64{0.013, 0.5, 1, 2.9, 3, 7, 9.99, 10, 22.3, 99, 4096} {
		step, ticks := scale(most)
		if float64(ticks)*step < most || ticks < 3 || ticks > 12 {
			t.Errorf("up to %v: %d steps of %v", most, ticks, step)
		}
	}
}

func TestRunThatMissesItsGoalIsKeptAndFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	r := open(t, path, setting("abc"))
	add(t, r, "1", 10)
	err := Page{Title: "A speed", Run: r, Head: []string{"arm"}}.Finish(map[string]int{"n": 1}, []string{"too slow", "too large"})
	if err == nil || err.Error() != "too slow; too large" {
		t.Errorf("got %v, want both sentences", err)
	}
	runs, err := Read(path)
	if err != nil || Last(runs) == nil || string(Last(runs).Summary) != `{"n":1}` {
		t.Errorf("got %+v, %v, want the run with its summary", runs, err)
	}
}
