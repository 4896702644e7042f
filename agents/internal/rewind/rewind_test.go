package rewind

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

func TestBeyondFollowsTheMembersPast(t *testing.T) {
	w := pgdata.WAL{Timeline: 5, Lines: []timeline.Line{{Timeline: 1, End: 0x100}, {Timeline: 3, End: 0x300}}, End: 0x500}
	for name, tc := range map[string]struct {
		fork lsn.LSN
		want []Stretch
	}{
		"on_the_newest":           {0x400, []Stretch{{5, 0x400, 0x500}}},
		"where_the_newest_begins": {0x300, []Stretch{{5, 0x300, 0x500}}},
		"over_three":              {0x80, []Stretch{{1, 0x80, 0x100}, {3, 0x100, 0x300}, {5, 0x300, 0x500}}},
		"at_the_end":              {0x500, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Beyond(w, tc.fork); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	p, ok := progress("  512/2048 kB (25%) copied"[2:], 2*time.Second)
	want := grant.Progress{Step: "rewind", Bytes: 512 << 10, Total: 2048 << 10, TotalKnown: true, PerSecond: 256 << 10, SecondsETA: 6}
	if !ok || p != want {
		t.Errorf("got %+v %v, want %+v", p, ok, want)
	}
	for _, line := range []string{"pg_rewind: reading WAL in target", "512/2048 kB (25%)", ""} {
		if _, ok := progress(line, 0); ok {
			t.Errorf("%q is taken for progress", line)
		}
	}
}

func TestSource(t *testing.T) {
	const ours = "7710770069818742159"
	for name, tc := range map[string]struct{ out, want string }{
		"the_leader":           {ours + "|f|4|00000005", ""},
		"foreign":              {"7000000000000000001|f|5|00000005", "foreign database"},
		"in_recovery":          {ours + "|t|5|", "in recovery"},
		"on_another_timeline":  {ours + "|f|5|00000006", "it writes on timeline 6, granted is 5"},
		"hexadecimal_timeline": {ours + "|f|5|0000000A", "it writes on timeline 10"},
		"an_answer_cut_short":  {ours + "|f|5", "got"},
		"no_number":            {ours + "|f|x|00000005", "got"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parseSource(tc.out)
			if err == nil {
				err = s.check(ours, 5)
			}
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// tool is a program that says what it is told to.
func tool(t *testing.T, name, script string) pgtools.Tools {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return pgtools.Tools{Path: map[string]string{name: path}}
}

func TestTryTellsWhatNeverWorksFromWhatMayPass(t *testing.T) {
	for name, tc := range map[string]struct {
		script     string
		fails      bool
		impossible bool
	}{
		"would_work":           {"echo 'pg_rewind: Done!' >&2", false, false},
		"would_copy":           {"echo 'pg_rewind: need to copy 51 MB (total source directory size is 70 MB)' >&2; sleep 60; exit 1", false, false},
		"sees_no_fork":         {"echo 'pg_rewind: no rewind required' >&2", true, true},
		"same_timeline":        {"echo 'pg_rewind: source and target cluster are on the same timeline'; echo 'pg_rewind: no rewind required'", true, true},
		"WAL_is_gone":          {"echo 'pg_rewind: error: could not find previous WAL record at 0/3000120' >&2; exit 1", true, true},
		"leader_is_not_there":  {"echo 'pg_rewind: error: connection refused' >&2; exit 1", true, false},
		"killed":               {"kill -9 $$", true, false},
		"says_nothing_forever": {"sleep 60", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Tools: tool(t, pgtools.Rewind, tc.script), Data: t.TempDir(), Stall: time.Second, Progress: func(grant.Progress) {}, Log: slog.New(slog.DiscardHandler)}
			err := Try(context.Background(), o)
			var e *ImpossibleError
			if (err != nil) != tc.fails || errors.As(err, &e) != tc.impossible {
				t.Errorf("got %v (impossible %v)", err, errors.As(err, &e))
			}
		})
	}
}

func TestWhatCannotBeKeptIsSaidAndNotHalfKept(t *testing.T) {
	data := t.TempDir()
	wal := filepath.Join(data, "pg_wal")
	if err := os.Mkdir(wal, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"000000010000000000000001", "000000010000000000000002", "000000020000000000000002", "000000010000000000000003", "00000002.history", "0000000100000000000000FF"} {
		if err := os.WriteFile(filepath.Join(wal, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const segment = 16 << 20
	parts := []Stretch{{1, segment + 5, 2*segment + 8}, {2, 2*segment + 8, 2*segment + 900}}
	to := filepath.Join(t.TempDir(), SetName("0.4", time.Unix(0, 0)))
	if err := Keep(context.Background(), data, to, segment, parts); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{"000000010000000000000001", "000000010000000000000002", "00000002.history", "000000020000000000000002"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	var full *NoRoomError
	to = filepath.Join(t.TempDir(), SetName("0.5", time.Unix(0, 0)))
	if err := Keep(context.Background(), data, to, 1<<60, []Stretch{{1, 0, 8}}); err != nil {
		t.Errorf("nothing to keep is an error: %v", err)
	}
	to += "again"
	if err := keepFiles(context.Background(), data, to, []string{filepath.Join(wal, "00000002.history")}, 1<<60); !errors.As(err, &full) {
		t.Errorf("got %v, want that there is no room", err)
	}
	if _, err := os.Lstat(to); err == nil {
		t.Error("it was kept all the same")
	}
}
