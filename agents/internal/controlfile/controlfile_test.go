package controlfile

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// PostgreSQL's own program says what is in the file.
func TestReadsWhatPgControldataReads(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.New(t, major)
			compare := func(clean bool) {
				t.Helper()
				out, err := s.Run(pgtest.Command{Path: s.BinDir() + "/pg_controldata", Args: []string{s.PGDATA()}})
				if err != nil {
					t.Fatal(err)
				}
				field := func(name string) string {
					_, rest, _ := strings.Cut(out, name+":")
					line, _, _ := strings.Cut(rest, "\n")
					return strings.TrimSpace(line)
				}
				c, err := Read(s.Outside(s.PGDATA()))
				if err != nil {
					t.Fatal(err)
				}
				if c.SystemID != field("Database system identifier") || c.Checkpoint.String() != field("Latest checkpoint location") ||
					c.Redo.String() != field("Latest checkpoint's REDO location") || strconv.FormatUint(uint64(c.Timeline), 10) != field("Latest checkpoint's TimeLineID") ||
					(c.State == ShutDown) != clean || (field("Database cluster state") == "shut down") != clean {
					t.Errorf("got %+v, want clean %v and\n%s", c, clean, out)
				}
			}
			s.Start(t)
			compare(false)
			s.SQL(t, "CREATE TABLE x AS SELECT generate_series(1, 1000)")
			s.Stop(t)
			compare(true)
			s.Start(t)
			s.Kill(t)
			compare(false)

			file := filepath.Join(s.Outside(s.PGDATA()), "global", "pg_control")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b[offCheckpoint]++
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "global"), 0o700); err != nil {
				t.Fatal(err)
			}
			for name, content := range map[string][]byte{"altered": b, "empty": nil, "zeros": make([]byte, 8192), "short": b[:100]} {
				if err := os.WriteFile(filepath.Join(dir, "global", "pg_control"), content, 0o600); err != nil {
					t.Fatal(err)
				}
				if c, err := Read(dir); err == nil {
					t.Errorf("%s: got %+v, want an error", name, c)
				}
			}
			if _, err := Read(t.TempDir()); err == nil {
				t.Error("a missing file was read")
			}
		})
	}
}
