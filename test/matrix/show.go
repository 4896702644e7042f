package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Row is a line with what is known of its tests.
type Row struct {
	Line
	// State is ok, FAILED, "not run", or what is wrong with the line itself.
	State string
	// Detail are the tests' own results, in the order of the line's tests.
	Detail []string
	// Bad: the matrix fails because of it.
	Bad bool
}

// Judge looks at one line. A line without a test fails, as does one whose test does not exist or has failed; with full also one that has
// not been run in its quick form.
func Judge(l Line, missing func(Test) error, results map[Test]Result, full bool) Row {
	r := Row{Line: l, State: "ok"}
	if len(l.Tests()) == 0 {
		r.State, r.Bad = "NO TEST", true
		return r
	}
	ran := true
	for _, t := range l.Tests() {
		last, known := results[t]
		text := string(t) + ": not run"
		quick := false
		for _, q := range l.Quick {
			quick = quick || q == t
		}
		switch {
		case missing(t) != nil:
			text = missing(t).Error()
			r.State, r.Bad = "NO SUCH TEST", true
		case !known || last.Result == "skip":
			ran = ran && !quick && len(l.Quick) > 0 // a line that has long tests only was not run when they were not
		default:
			text = fmt.Sprintf("%s: %s at %s, %s, %.1f s", t, last.Result, last.Commit, last.At.Format("2006-01-02 15:04"), last.Seconds)
			if last.Result == "fail" && !r.Bad {
				r.State, r.Bad = "FAILED", true
			}
		}
		r.Detail = append(r.Detail, text)
	}
	if !ran && !r.Bad {
		r.State, r.Bad = "not run", full
	}
	return r
}

// Show prints all lines and returns how many fail.
func Show(w io.Writer, m Matrix, missing func(Test) error, results map[Test]Result, full, details bool) int {
	bad, count := 0, map[string]int{}
	for _, g := range m.Groups {
		fmt.Fprintf(w, "\n%s\n", g.Title)
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, l := range g.Lines {
			r := Judge(l, missing, results, full)
			count[r.State]++
			if r.Bad {
				bad++
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\n", r.State, l.Form(), l.Line)
			if details || r.Bad {
				for _, d := range r.Detail {
					fmt.Fprintf(t, "  \t\t    %s\n", d)
				}
			}
			if l.Missing != "" {
				fmt.Fprintf(t, "  \t\t    not shown: %s\n", l.Missing)
			}
		}
		_ = t.Flush() // as every other line
	}
	fmt.Fprintf(w, "\n%d lines:", total(m))
	for _, state := range []string{"ok", "not run", "FAILED", "NO TEST", "NO SUCH TEST"} {
		if count[state] > 0 {
			fmt.Fprintf(w, " %d %s", count[state], state)
		}
	}
	fmt.Fprintln(w)
	return bad
}

func total(m Matrix) (n int) {
	for _, g := range m.Groups {
		n += len(g.Lines)
	}
	return n
}

// Page writes the lines for readers of the repository. It has no results, so that it changes with the lines only.
func Page(w io.Writer, m Matrix) {
	fmt.Fprint(w, "# What is promised, and which test shows it\n\nMade by `make golden` from [test/matrix/lines.yaml](../../test/matrix/lines.yaml). `make matrix` prints it with how each test ended last.\n"+
		"*Quick* tests are part of `make test`; *long* ones are run for themselves.\n")
	for _, g := range m.Groups {
		fmt.Fprintf(w, "\n## %s\n\n| line | form | tests |\n| --- | --- | --- |\n", g.Title)
		for _, l := range g.Lines {
			var tests []string
			for _, t := range l.Tests() {
				tests = append(tests, "`"+strings.ReplaceAll(string(t), ":", " ")+"`")
			}
			text := strings.Join(tests, "<br>")
			if l.Missing != "" {
				text = strings.TrimPrefix(text+"<br>not shown: "+l.Missing, "<br>")
			}
			line := l.Line
			if l.Why != "" {
				line += ". " + l.Why
			}
			fmt.Fprintf(w, "| %s | %s | %s |\n", line, l.Form(), text)
		}
	}
}
