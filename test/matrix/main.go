// Command matrix says what pgspan promises about who may write, which test shows each promise, and how that test ended last.
//
//	matrix show [-full] [-details] [-page FILE]   prints the lines; exits with 1 when one has no test, or a test that is missing or failed
//	matrix run [-v] SUITE -- go test …            runs go test as usual and keeps how each test ended
//	matrix note NAME -- …                         runs a program and keeps how it ended, as the Makefile's target NAME
//
// It is run from the repository's root. The lines are test/matrix/lines.yaml, the results dist/matrix/<suite>.jsonl.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
)

const (
	linesFile  = "test/matrix/lines.yaml"
	resultsDir = "dist/matrix"
)

func main() {
	code, err := act(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
	}
	os.Exit(code)
}

func act(args []string) (int, error) {
	if len(args) == 0 {
		return 2, errors.New("say show or run")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	full := flags.Bool("full", false, "fail also on lines whose quick tests were not run")
	details := flags.Bool("details", false, "print every test's result")
	page := flags.String("page", "", "write the lines as a page into this file")
	verbose := flags.Bool("v", false, "print all that tests say")
	root := flags.String("root", ".", "the repository's root, for the results")
	if err := flags.Parse(args[1:]); err != nil {
		return 2, err
	}
	rest := flags.Args()
	switch {
	case args[0] == "show" && len(rest) == 0:
		return show(*full, *details, *page)
	case args[0] == "run" && len(rest) > 2 && rest[1] == "--":
		return run(context.Background(), *root+"/"+resultsDir, rest[0], *verbose, rest[2:])
	}
	if args[0] == "note" && len(rest) > 2 && rest[1] == "--" {
		return note(context.Background(), *root+"/"+resultsDir, rest[0], rest[2:])
	}
	return 2, fmt.Errorf("%q is not understood: matrix show, matrix run SUITE -- go test …, or matrix note NAME -- …", args)
}

func show(full, details bool, page string) (int, error) {
	m, err := Load(linesFile)
	if err != nil {
		return 2, err
	}
	results, err := Results(resultsDir)
	if err != nil {
		return 2, err
	}
	if page != "" {
		var b bytes.Buffer
		Page(&b, m)
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			return 2, fmt.Errorf("write the page: %w", err)
		}
	}
	if bad := Show(os.Stdout, m, NewTests(".").Missing, results, full, details); bad > 0 {
		return 1, fmt.Errorf("%d lines are not shown to hold", bad)
	}
	return 0, nil
}
