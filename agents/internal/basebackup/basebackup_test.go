package basebackup

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

// options run a script in place of pg_basebackup.
func options(t *testing.T, script string) (Options, func() []grant.Progress) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "pg_basebackup")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []grant.Progress
	o := Options{
		Tools: pgtools.Tools{Path: map[string]string{pgtools.Basebackup: program}}, Target: filepath.Join(dir, "pgdata.new"), Keys: "/keys",
		From: grant.Upstream{Name: "db-primary-0", Host: "h", Port: 5432}, Name: Name("me"), Stall: time.Minute, Log: slog.New(slog.DiscardHandler),
		Progress: func(p grant.Progress) { mu.Lock(); seen = append(seen, p); mu.Unlock() },
	}
	return o, func() []grant.Progress { mu.Lock(); defer mu.Unlock(); return seen }
}

func TestArguments(t *testing.T) {
	o, _ := options(t, `printf '%s\n' "$@" > "$(dirname "$0")/args"`)
	o.MaxRate = 10 << 20
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	args, err := os.ReadFile(filepath.Join(filepath.Dir(o.Target), "args"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"application_name=me_clone", "sslmode=verify-full", "sslkey=/keys/replication.key", "--wal-method=stream", "--checkpoint=fast", "--max-rate=10240k", "--no-password", "--pgdata=" + o.Target,
	} {
		if !strings.Contains(string(args), want) {
			t.Errorf("%s is not in\n%s", want, args)
		}
	}
	if strings.Contains(string(args), "--slot") {
		t.Error("the clone uses a slot that outlives it")
	}
}

func TestProgressIsReadFromEitherLineEnding(t *testing.T) {
	o, seen := options(t, `
printf 'pg_basebackup: initiating base backup, waiting for checkpoint to complete\n' >&2
printf '    100/4000 kB (2%%), 0/1 tablespace (…)\r' >&2; sleep 0.3
printf '   2100/4000 kB (52%%), 0/1 tablespace (…)\n' >&2; sleep 0.3
printf '   5000/4000 kB (125%%), 1/1 tablespace\n' >&2
printf 'pg_basebackup: syncing data to disk ...\n' >&2
`)
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	got := seen()
	if len(got) != 5 {
		t.Fatalf("got %d reports: %+v", len(got), got)
	}
	if p := got[1]; p.Step != stepCopy || p.Bytes != 2100<<10 || p.Total != 4000<<10 || !p.TotalKnown || p.PerSecond < 2<<20 || p.PerSecond > 8<<20 || p.SecondsETA <= 0 {
		t.Errorf("second report: %+v", p)
	}
	if p := got[2]; p.Total != 5000<<10 || p.SecondsETA != 0 {
		t.Errorf("a database that grew: %+v", p)
	}
	if p := got[3]; p.Step != stepSync {
		t.Errorf("fourth report: %+v", p)
	}
}

func TestFailureIsToldInTheProgramsWords(t *testing.T) {
	o, _ := options(t, `printf '    100/4000 kB (2%%), 0/1 tablespace\n' >&2
echo 'pg_basebackup: error: could not receive data: no such slot' >&2; exit 1`)
	err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "base backup from db-primary-0") || !strings.Contains(err.Error(), "no such slot") || strings.Contains(err.Error(), "kB") {
		t.Errorf("got %v", err)
	}
}

func TestNothingArrivesForTooLong(t *testing.T) {
	o, _ := options(t, `printf '    100/4000 kB (2%%), 0/1 tablespace\n' >&2; sleep 60`)
	o.Stall = 500 * time.Millisecond
	began := time.Now()
	err := Run(t.Context(), o)
	if !errors.Is(err, ErrStalled) || time.Since(began) > 20*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}

func TestWritingToDiskIsNoStall(t *testing.T) {
	o, _ := options(t, `printf '   4000/4000 kB (100%%), 1/1 tablespace\n' >&2
printf 'pg_basebackup: syncing data to disk ...\n' >&2; sleep 2`)
	o.Stall = 500 * time.Millisecond
	if err := Run(t.Context(), o); err != nil {
		t.Error(err)
	}
}

func TestCopyThatCannotFitIsGivenUpAtOnce(t *testing.T) {
	o, _ := options(t, `printf '    100/900000000000 kB (0%%), 0/1 tablespace\n' >&2; sleep 60`)
	began := time.Now()
	err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "enlarge the PersistentVolumeClaim") || time.Since(began) > 20*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}

// pg_basebackup forks; what it forked must not write on when it is given up.
func TestGivingUpKillsWhatTheProgramStarted(t *testing.T) {
	o, _ := options(t, `(while :; do date +%s%N > "$(dirname "$0")/alive"; sleep 0.05; done) & wait`)
	ctx, cancel := context.WithCancel(t.Context())
	alive := filepath.Join(filepath.Dir(o.Target), "alive")
	go func() {
		for {
			if _, err := os.Stat(alive); err == nil {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	before, err := os.ReadFile(alive)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // six times its period
	if after, err := os.ReadFile(alive); err != nil || string(after) != string(before) {
		t.Errorf("it still runs: %v", err)
	}
}

func TestRate(t *testing.T) {
	at := time.Now()
	for name, tc := range map[string]struct {
		past            []sample
		total           int64
		perSecond, left float64
	}{
		"one_sample":     {[]sample{{at, 10}}, 100, 0, 0},
		"no_time_passed": {[]sample{{at, 10}, {at, 20}}, 100, 0, 0},
		"nothing_came":   {[]sample{{at, 10}, {at.Add(time.Second), 10}}, 100, 0, 0},
		"steady":         {[]sample{{at, 0}, {at.Add(2 * time.Second), 20}}, 100, 10, 8},
		"beyond":         {[]sample{{at, 0}, {at.Add(time.Second), 100}}, 100, 100, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if perSecond, left := rate(tc.past, tc.total); perSecond != tc.perSecond || left != tc.left {
				t.Errorf("got %v %v, want %v %v", perSecond, left, tc.perSecond, tc.left)
			}
		})
	}
}
