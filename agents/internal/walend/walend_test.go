package walend

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/controlfile"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// PostgreSQL's own program says where the WAL of a killed server ends.
func TestFindsTheEndThatPgWaldumpFinds(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.New(t, major)
			s.Set("min_wal_size", "32MB")
			s.Set("max_wal_size", "64MB")
			s.Start(t)
			segment, err := strconv.ParseInt(s.SQL(t, "SELECT pg_size_bytes(current_setting('wal_segment_size'))"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			s.SQL(t, "CREATE TABLE x (t text); ALTER TABLE x ALTER t SET STORAGE EXTERNAL")
			data := s.Outside(s.PGDATA())
			for i, work := range []string{
				"SELECT 1",
				"INSERT INTO x VALUES ('small')",
				"SELECT pg_logical_emit_message(false, 'x', repeat('y', 100000))",
				"SELECT pg_logical_emit_message(false, 'x', repeat('y', 3000000))",
				"INSERT INTO x SELECT repeat('z', 5000) FROM generate_series(1, 3000)",
				"SELECT pg_switch_wal()",
				"CHECKPOINT; SELECT pg_switch_wal(); INSERT INTO x SELECT repeat('z', 500) FROM generate_series(1, 70)",
				"INSERT INTO x SELECT repeat('z', 5000) FROM generate_series(1, 20000)", // through a checkpoint, into segments that are used again
			} {
				for part := range 3 {
					s.SQL(t, work)
					s.SQL(t, fmt.Sprintf("SELECT pg_logical_emit_message(true, 'x', repeat('y', %d))", part*2711))
					s.Kill(t)
					c, err := controlfile.Read(data)
					if err != nil {
						t.Fatal(err)
					}
					got, err := Find(data, c.Timeline, c.Redo)
					if err != nil {
						t.Fatal(err)
					}
					if want := dumped(t, s, c); got != want {
						t.Errorf("step %d.%d: got %s, want %s (redo %s)", i, part, got, want, c.Redo)
					}
					if part == 2 {
						spoil(t, data, c, got, segment)
					}
					s.Start(t)
				}
			}
			if _, err := Find(data, 9, 0x1000000); err == nil {
				t.Error("WAL of a timeline that is not there was found")
			}
		})
	}
}

// spoil lets the page after the end look like one that was written, with a record that is not whole: nothing more is found.
func spoil(t *testing.T, data string, c controlfile.Control, end lsn.LSN, segment int64) {
	t.Helper()
	per := int64(1<<32) / segment
	n := int64(end) / segment
	name := filepath.Join(data, "pg_wal", fmt.Sprintf("%08X%08X%08X", c.Timeline, n/per, n%per))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if end%page > page-100 {
		return
	}
	old := make([]byte, 8)
	at := int64(end) % segment
	if _, err := f.ReadAt(old, at); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0, 0x40, 0, 0}, at); err != nil { // a record that would go on over the next pages
		t.Fatal(err)
	}
	if got, err := Find(data, c.Timeline, c.Redo); err != nil || got != end {
		t.Errorf("a torn record: got %s, %v, want %s", got, err, end)
	}
	if _, err := f.WriteAt(old, at); err != nil {
		t.Fatal(err)
	}
}

// atEnd is what pg_waldump complains of where no record follows: the first position is that of the last record, the second the end.
var atEnd = regexp.MustCompile(`error in WAL record at [0-9A-F/]+: .* at ([0-9A-F]+/[0-9A-F]+)`)

func dumped(t *testing.T, s *pgtest.Server, c controlfile.Control) lsn.LSN {
	t.Helper()
	_, err := s.Run(pgtest.Command{Path: s.BinDir() + "/pg_waldump", Args: []string{
		"--quiet", "--path", s.PGDATA() + "/pg_wal", "--timeline", strconv.FormatUint(uint64(c.Timeline), 10), "--start", c.Redo.String()}})
	found := atEnd.FindStringSubmatch(fmt.Sprint(err))
	if found == nil {
		t.Fatalf("pg_waldump does not say where the WAL ends: %v", err)
	}
	end, err := lsn.Parse(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return end
}
