package pgdata

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

// inside returns tools that run the image's own programs on files as the test sees them.
func inside(t *testing.T, s *pgtest.Server) pgtools.Tools {
	t.Helper()
	tools := pgtools.Tools{Major: s.Major, Path: map[string]string{}}
	dir := t.TempDir()
	for _, name := range []string{pgtools.Waldump, pgtools.Controldata} {
		script := fmt.Sprintf("#!/bin/sh\nfor a; do shift; case $a in %[1]s*) a=${a#%[1]s};; --path=%[1]s*) a=--path=${a#--path=%[1]s};; esac; set -- \"$@\" \"$a\"; done\nexec chroot %[1]s %[2]s/%[3]s \"$@\"\n",
			s.Dir, s.BinDir(), name)
		tools.Path[name] = filepath.Join(dir, name)
		if err := os.WriteFile(tools.Path[name], []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return tools
}

func find(t *testing.T, s *pgtest.Server, tools pgtools.Tools) WAL {
	t.Helper()
	dir := s.Outside(s.PGDATA())
	c, err := ReadControl(t.Context(), tools, dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := FindWAL(t.Context(), tools, dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func position(t *testing.T, s *pgtest.Server) lsn.LSN {
	t.Helper()
	at, err := lsn.Parse(s.SQL(t, "SELECT pg_current_wal_insert_lsn()"))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestEndOfTheWAL(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.New(t, major, pgtest.WithSetting("autovacuum", "off"), pgtest.WithSetting("bgwriter_lru_maxpages", "0"))
			tools := inside(t, s)
			s.Start(t)
			s.SQL(t, "CREATE TABLE jobs AS SELECT generate_series(1, 10000) AS id")
			want := position(t, s)
			s.Kill(t)
			if w := find(t, s, tools); !w.Exact || w.End != want || w.Timeline != 1 {
				t.Errorf("crashed: got %+v, want %s", w, want)
			}
			bare := pgtools.Tools{Major: major, Path: map[string]string{pgtools.Controldata: tools.Path[pgtools.Controldata]}}
			if w := find(t, s, bare); w.Exact || w.End >= want || w.End == 0 || !strings.Contains(w.Problem, "no pg_waldump") {
				t.Errorf("without pg_waldump: got %+v, want a position before %s", w, want)
			}

			// The WAL ends where a file does, and there is no next one.
			s.Start(t)
			s.SQL(t, "CHECKPOINT; INSERT INTO jobs VALUES (0)")
			s.SQL(t, "SELECT pg_switch_wal()")
			full := position(t, s)
			full -= full % (16 << 20)
			next := s.SQL(t, "SELECT pg_walfile_name('"+(full+1).String()+"')")
			s.Kill(t)
			if err := os.Remove(filepath.Join(s.Outside(s.PGDATA()), "pg_wal", next)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if w := find(t, s, tools); !w.Exact || w.End != full {
				t.Errorf("full file: got %+v, want %s", w, full)
			}

			// The file with the checkpoint is gone: there is nothing to begin with.
			c, err := ReadControl(t.Context(), tools, s.Outside(s.PGDATA()))
			if err != nil {
				t.Fatal(err)
			}
			segments, err := Segments(s.Outside(s.PGDATA()), c.WALSegment)
			if err != nil {
				t.Fatal(err)
			}
			for _, segment := range segments {
				if segment.Start == c.Checkpoint-c.Checkpoint%(16<<20) {
					if err := os.Remove(filepath.Join(s.Outside(s.PGDATA()), "pg_wal", segment.Name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if w := find(t, s, tools); w.Exact || w.End != c.Checkpoint+recordHeader || w.Problem == "" {
				t.Errorf("no beginning: got %+v", w)
			}
		})
	}
}

// A standby that was promoted and killed before its first checkpoint has a control file of the old timeline.
func TestEndOfTheWALAfterAPromotion(t *testing.T) {
	t.Parallel()
	primary := pgtest.New(t, 17)
	primary.Start(t)
	s := primary.BaseBackup(t, pgtest.WithSetting("checkpoint_timeout", "1d"))
	s.Start(t)
	s.SQL(t, "SELECT pg_promote()")
	s.SQL(t, "CREATE TABLE jobs AS SELECT generate_series(1, 1000) AS id; SELECT pg_switch_wal(); INSERT INTO jobs VALUES (0)")
	want := position(t, s)
	s.Kill(t)
	w := find(t, s, inside(t, s))
	if !w.Exact || w.End < want || w.End > want+4096 || w.Timeline != 2 || len(w.Lines) != 1 || w.HistoryMissing {
		t.Errorf("got %+v, want %s on timeline 2", w, want)
	}
	if err := os.Remove(filepath.Join(s.Outside(s.PGDATA()), "pg_wal", "00000002.history")); err != nil {
		t.Fatal(err)
	}
	if w := find(t, s, inside(t, s)); !w.HistoryMissing || w.Timeline != 2 {
		t.Errorf("without the history: got %+v", w)
	}
}

func TestFailureOfTheReaderIsNoEnd(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, 17)
	tools := inside(t, s)
	c, err := ReadControl(t.Context(), tools, s.Outside(s.PGDATA()))
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{"killed": "#!/bin/sh\nkill -9 $$\n", "not_a_program": "\x7fELF"} {
		tools.Path[pgtools.Waldump] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(tools.Path[pgtools.Waldump], []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if w, err := FindWAL(t.Context(), tools, s.Outside(s.PGDATA()), c); err == nil {
			t.Errorf("%s: got %+v, want an error", name, w)
		}
	}
}
