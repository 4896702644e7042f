package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// Matrix is the file lines.yaml: what pgspan promises, and which tests show it.
type Matrix struct {
	Groups []Group `json:"groups"`
}

// Group is a heading and its lines.
type Group struct {
	Title string `json:"title"`
	Lines []Line `json:"lines"`
}

// Line is one promise. It needs a test; which form it has follows from which of the lists is full.
type Line struct {
	Line string `json:"line"`
	// Why it is promised, or what goes wrong without it, where the line does not say so itself.
	Why string `json:"why,omitempty"`
	// Quick tests are part of `make test`. Long ones are run for themselves.
	Quick []Test `json:"quick,omitempty"`
	Long  []Test `json:"long,omitempty"`
	// Missing says what no test shows yet. A line that has it and no test fails; one that has both is shown with it.
	Missing string `json:"missing,omitempty"`
}

// Test names a test as <directory>:<function>/<subtest>, or a program that keeps its own results as make:<target>.
type Test string

// targets stands in place of a directory for targets of the Makefile.
const targets = "make"

// Dir is the directory of the test's package in the repository.
func (t Test) Dir() string { dir, _, _ := strings.Cut(string(t), ":"); return dir }

// Name is the test's own, as go test prints it.
func (t Test) Name() string { _, name, _ := strings.Cut(string(t), ":"); return name }

// Load reads lines.yaml and reports all that is wrong with it at once.
func Load(path string) (Matrix, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Matrix{}, fmt.Errorf("read the lines: %w", err)
	}
	return Parse(b)
}

// Parse is Load of a text.
func Parse(b []byte) (Matrix, error) {
	var m Matrix
	if err := yaml.UnmarshalStrict(b, &m); err != nil {
		return Matrix{}, fmt.Errorf("read the lines: %w", err)
	}
	var problems []error
	seen := map[string]bool{}
	for _, g := range m.Groups {
		for _, l := range g.Lines {
			if l.Line == "" || seen[l.Line] {
				problems = append(problems, fmt.Errorf("%s: a line is empty or stands there twice: %q", g.Title, l.Line))
			}
			seen[l.Line] = true
			for _, t := range l.Tests() {
				if t.Dir() == "" || t.Name() == "" || t.Dir() != targets && !strings.HasPrefix(t.Name(), "Test") {
					problems = append(problems, fmt.Errorf("%s: %q names no test: write <directory>:<function>/<subtest>", l.Line, t))
				}
			}
		}
	}
	return m, errors.Join(problems...)
}

// Tests are all of a line's.
func (l Line) Tests() []Test { return append(append([]Test(nil), l.Quick...), l.Long...) }

// Form is quick, long, or both.
func (l Line) Form() string {
	switch {
	case len(l.Quick) > 0 && len(l.Long) > 0:
		return "quick, long"
	case len(l.Quick) > 0:
		return "quick"
	case len(l.Long) > 0:
		return "long"
	}
	return "none"
}
