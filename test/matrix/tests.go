package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Tests says which tests a repository has, by reading its source: go test -list knows no subtests, and would have to build everything.
type Tests struct {
	root     string
	packages map[string]*found
}

// found is what one package's test files have.
type found struct {
	functions map[string]bool
	names     map[string]bool // string literals, as go test writes names of subtests
	err       error
}

// NewTests reads packages below root when they are asked for.
func NewTests(root string) *Tests { return &Tests{root: root, packages: map[string]*found{}} }

// Missing says why a test does not exist; nil when it does. A subtest exists when each part of its name is a literal in its package's tests.
func (t *Tests) Missing(test Test) error {
	if test.Dir() == targets {
		b, err := os.ReadFile(filepath.Join(t.root, "Makefile"))
		if err == nil && !strings.Contains(string(b), "\n"+test.Name()+":") {
			err = fmt.Errorf("there is no such target")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", test, err)
		}
		return nil
	}
	p := t.packages[test.Dir()]
	if p == nil {
		p = read(filepath.Join(t.root, test.Dir()))
		t.packages[test.Dir()] = p
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w", test, p.err)
	}
	function, rest, _ := strings.Cut(test.Name(), "/")
	if !p.functions[function] {
		return fmt.Errorf("%s: there is no such test", test)
	}
	for _, part := range strings.Split(rest, "/") {
		if part != "" && !p.names[part] {
			return fmt.Errorf("%s: there is no subtest %q", test, part)
		}
	}
	return nil
}

func read(dir string) *found {
	f := &found{functions: map[string]bool{}, names: map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no tests there: %w", os.ErrNotExist)
	}
	if err != nil {
		f.err = err
		return f
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			f.err = err
			return f
		}
		for _, d := range parsed.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				f.functions[fn.Name.Name] = true
			}
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					f.names[strings.ReplaceAll(text, " ", "_")] = true
				}
			}
			return true
		})
	}
	return f
}
