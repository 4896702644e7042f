package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// event is a line of go test -json.
type event struct {
	Time    time.Time
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
}

// reader prints what go test would print without -json, and keeps how each test ended.
type reader struct {
	to      io.Writer
	verbose bool
	keep    func(pkg, test, result string, seconds float64, at time.Time) error
	held    map[string][]string // output of tests that have not ended
}

// read goes through the events until there are no more. A line that is none (a build's complaint) is printed as it is.
func (r *reader) read(from io.Reader) error {
	r.held = map[string][]string{}
	lines := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
				fmt.Fprint(r.to, line)
			} else if err := r.take(e); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read go test's events: %w", err)
		}
	}
}

func (r *reader) take(e event) error {
	switch e.Action {
	case "output":
		switch {
		case r.verbose || e.Test == "":
			if e.Output != "PASS\n" || r.verbose {
				fmt.Fprint(r.to, e.Output)
			}
		default:
			// A test's lines belong to its first part: what fails is shown whole, with its subtests.
			top, _, _ := strings.Cut(e.Test, "/")
			r.held[e.Package+":"+top] = append(r.held[e.Package+":"+top], e.Output)
		}
	case "build-output":
		fmt.Fprint(r.to, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			return nil
		}
		if !strings.Contains(e.Test, "/") {
			if e.Action == "fail" {
				for _, text := range r.held[e.Package+":"+e.Test] {
					fmt.Fprint(r.to, text)
				}
			}
			delete(r.held, e.Package+":"+e.Test)
		}
		return r.keep(e.Package, e.Test, e.Action, e.Elapsed, e.Time)
	}
	return nil
}

// run runs go test with -json and returns its exit code. An interruption reaches go test by itself: both are of one group of the terminal; one that
// was sent to this process alone is passed on.
func run(ctx context.Context, dir, suite string, verbose bool, words []string) (int, error) {
	if len(words) < 2 || words[1] != "test" {
		return 2, fmt.Errorf("run a go test, not %q", strings.Join(words, " "))
	}
	s, err := openStore(dir, suite, commit(ctx))
	if err != nil {
		return 2, err
	}
	defer s.close()
	cmd := exec.CommandContext(ctx, words[0], append([]string{"test", "-json"}, words[2:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 2, err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return 2, fmt.Errorf("run %s: %w", strings.Join(words, " "), err)
	}
	go func() {
		for got := range signals {
			if got == syscall.SIGTERM {
				_ = cmd.Process.Signal(got) // it may have ended
			}
		}
	}()
	r := &reader{to: os.Stdout, verbose: verbose, keep: s.add}
	reading := r.read(out)
	if err := cmd.Wait(); err != nil {
		return max(cmd.ProcessState.ExitCode(), 1), reading
	}
	return 0, reading
}

// note runs a program and keeps how it ended. What it prints is its own business. A signal is its to answer: it may have to heal what it broke.
func note(ctx context.Context, dir, name string, words []string) (int, error) {
	s, err := openStore(dir, name, commit(ctx))
	if err != nil {
		return 2, err
	}
	defer s.close()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 2, fmt.Errorf("run %s: %w", strings.Join(words, " "), err)
	}
	go func() {
		for got := range signals {
			if got == syscall.SIGTERM {
				_ = cmd.Process.Signal(got) // it may have ended
			}
		}
	}()
	result, code := "pass", 0
	if cmd.Wait() != nil {
		result, code = "fail", max(cmd.ProcessState.ExitCode(), 1)
	}
	return code, s.add(targets, name, result, time.Since(began).Seconds(), time.Now())
}

func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
