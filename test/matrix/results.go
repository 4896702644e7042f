package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Result is how a test ended last.
type Result struct {
	Test    Test      `json:"test"`
	Result  string    `json:"result"` // pass, fail or skip, as go test says it
	Seconds float64   `json:"seconds"`
	At      time.Time `json:"at"`
	Commit  string    `json:"commit"`
}

// module is the beginning of every import path; what follows is the directory.
const module = "github.com/pgspan/pgspan/"

// Results reads what the files of a directory say, the newest of each test. No directory: nothing was run.
func Results(dir string) (map[Test]Result, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	out := map[Test]Result{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read results: %w", err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var r Result
			if json.Unmarshal(lines.Bytes(), &r) != nil {
				continue // the last line of a run that was killed
			}
			if r.At.After(out[r.Test].At) {
				out[r.Test] = r
			}
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, fmt.Errorf("read results: %w", err)
		}
	}
	return out, nil
}

// store is one suite's file of results. It is written anew at the beginning of a run, with the newest of each test, so that it does not grow.
type store struct {
	file   *os.File
	commit string
}

func openStore(dir, suite, commit string) (*store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("keep results: %w", err)
	}
	path := filepath.Join(dir, suite+".jsonl")
	all, err := Results(dir)
	if err != nil {
		return nil, err
	}
	var old []byte
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("keep results: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		var r Result
		if json.Unmarshal([]byte(line), &r) == nil && all[r.Test].At.Equal(r.At) {
			old = append(old, strings.TrimSpace(line)+"\n"...)
		}
	}
	if err := os.WriteFile(path+".new", old, 0o644); err != nil {
		return nil, fmt.Errorf("keep results: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return nil, fmt.Errorf("keep results: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("keep results: %w", err)
	}
	return &store{f, commit}, nil
}

// add keeps a result. A line at a time: a run that is killed leaves what it had.
func (s *store) add(pkg, test, result string, seconds float64, at time.Time) error {
	b, err := json.Marshal(Result{Test(strings.TrimPrefix(pkg, module) + ":" + test), result, seconds, at.UTC().Truncate(time.Second), s.commit})
	if err == nil {
		_, err = s.file.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	return nil
}

func (s *store) close() error { return s.file.Close() }
