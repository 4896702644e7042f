package pgdata

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

func TestTimelineThatWasOnlyBegunIsFound(t *testing.T) {
	const size = 1 << 20
	text := func(parts ...string) string {
		s := strings.Join(parts, "")
		return s + strings.Repeat("\x00", size-len(s))
	}
	old, long := "000000020000000000000004", strings.Repeat("wal of timeline 2 ", 10000)
	type files map[string]string
	for name, c := range map[string]struct {
		files files
		known uint32
		want  uint32
	}{
		"copy_of_a_promotion_that_was_killed":    {files{old: text(long), "000000030000000000000004": text(long)}, 2, 3},
		"first_part_of_what_is_received":         {files{old: text(long), "000000030000000000000004": text(long[:70000])}, 2, 3},
		"nothing_but_zeros":                      {files{old: text(long), "000000030000000000000004": text()}, 2, 3},
		"shorter_file":                           {files{old: text(long), "000000030000000000000004": long[:70000]}, 2, 3},
		"copy_of_the_newest_of_several":          {files{old: text(long), "000000010000000000000004": text("x"), "000000030000000000000004": text(long)}, 2, 3},
		"it_has_gone_on":                         {files{old: text(long), "000000030000000000000004": text(long, "wal of timeline 3")}, 2, 0},
		"it_began_earlier_in_the_file":           {files{old: text(long), "000000030000000000000004": text(long[:70000], "wal of timeline 3")}, 2, 0},
		"the_older_file_is_the_shorter_one":      {files{old: text(long[:70000]), "000000030000000000000004": text(long)}, 2, 0},
		"it_has_more_files":                      {files{old: text(long), "000000030000000000000004": text(long), "000000030000000000000005": text()}, 2, 0},
		"the_older_file_is_gone":                 {files{"000000020000000000000003": text(long), "000000030000000000000004": text(long)}, 2, 0},
		"the_control_file_knows_that_it_went_on": {files{old: text(long), "000000030000000000000004": text(long)}, 3, 0},
		"there_is_no_newer_one":                  {files{old: text(long)}, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "pg_wal"), 0o700); err != nil {
				t.Fatal(err)
			}
			for f, content := range c.files {
				write(t, filepath.Join(dir, "pg_wal", f), content)
			}
			write(t, filepath.Join(dir, "pg_wal", "00000003.history"), "2\t0/401FFFF\tx\n")
			got, err := DropStub(dir, Control{Timeline: c.known, WALSegment: size})
			if err != nil || got != c.want {
				t.Fatalf("got %d (%v), want %d", got, err, c.want)
			}
			_, segment := os.Stat(filepath.Join(dir, "pg_wal", "000000030000000000000004"))
			_, history := os.Stat(HistoryFile(dir, 3))
			if gone := errors.Is(segment, fs.ErrNotExist) && errors.Is(history, fs.ErrNotExist); c.files["000000030000000000000004"] != "" && gone != (c.want != 0) {
				t.Errorf("file %v, history %v", segment, history)
			}
		})
	}
}

// A promotion that is killed between the copy of the last file and the new timeline's history leaves WAL that reads like a new timeline's, to the end.
func TestPromotionThatWasKilledAtItsBeginningHasNotDiverged(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			t.Parallel()
			primary := pgtest.New(t, major, pgtest.WithSetting("autovacuum", "off"))
			primary.Start(t)
			s := primary.BaseBackup(t)
			s.Start(t)
			primary.SQL(t, "CREATE TABLE jobs AS SELECT generate_series(1, 1000) AS id")
			s.WaitSQL(t, "SELECT count(*) FROM jobs", "1000")
			primary.Stop(t)
			s.Kill(t)
			tools := inside(t, s)
			before := find(t, s, tools)
			dir := s.Outside(s.PGDATA())
			segments, err := Segments(dir, 16<<20)
			if err != nil {
				t.Fatal(err)
			}
			last := segments[0]
			for _, x := range segments {
				if x.Start <= before.End-1 && x.Start >= last.Start {
					last = x
				}
			}
			b, err := os.ReadFile(filepath.Join(dir, "pg_wal", last.Name))
			if err != nil {
				t.Fatal(err)
			}
			clear(b[before.End-last.Start:]) // what PostgreSQL copies for a timeline that begins here
			s.WriteFile(t, s.PGDATA()+"/pg_wal/00000002"+last.Name[8:], b, 0o600)
			for _, history := range []bool{false, true} {
				if history {
					s.WriteFile(t, s.PGDATA()+"/pg_wal/00000002.history", fmt.Appendf(nil, "1\t%s\tno recovery target specified\n", before.End), 0o600)
				}
				if w := find(t, s, tools); w.Timeline != 1 || w.HistoryMissing || w.End != before.End || !w.Exact {
					t.Errorf("history %v: got %+v, want what it was: %+v", history, w, before)
				}
			}
			c, err := ReadControl(t.Context(), tools, dir)
			if err != nil {
				t.Fatal(err)
			}
			if line, err := DropStub(dir, c); line != 2 || err != nil {
				t.Errorf("dropped %d, %v", line, err)
			}
			s.Start(t) // it follows timeline 1 again, and its leader's next one can be of any number
			s.WaitSQL(t, "SELECT count(*) FROM jobs", "1000")
		})
	}
}

// limited is a way to a server that lets so many bytes come back and is cut then, for good.
func limited(t *testing.T, to string, bytes int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		left := bytes
		for left > 0 {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				_, _ = io.Copy(out, in)
				_, _ = io.Copy(io.Discard, in) // the server may have gone first
			}()
			n, _ := io.Copy(in, io.LimitReader(out, left))
			left -= n
			// A socket that is closed with something unread in it resets the connection, and with that goes what the other side has not read yet.
			_ = in.(*net.TCPConn).CloseWrite()
			<-drained
			in.Close()
			out.Close()
		}
		l.Close()
	}()
	return l.Addr().String()
}

// A standby has received all of timeline 1. It begins to follow timeline 2, whose first file repeats that from the file's beginning, and is cut off and
// killed before it has received so much again. What it had must still be there when it is asked for its position.
func TestBeginningOfANewTimelineDoesNotHideWhatWasReceivedBefore(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			t.Parallel()
			quiet := []pgtest.Option{
				pgtest.WithSetting("autovacuum", "off"), pgtest.WithSetting("checkpoint_timeout", "1d"), pgtest.WithSetting("bgwriter_lru_maxpages", "0"),
				pgtest.WithSetting("max_wal_size", "4GB"), pgtest.WithSetting("shared_buffers", "128MB"), pgtest.WithSetting("fsync", "off"),
				pgtest.WithHBA("local all all trust", "local replication all trust", "host replication all 127.0.0.0/8 trust"),
			}
			p := pgtest.New(t, major, quiet...)
			p.Start(t)
			p.SQL(t, "CREATE TABLE jobs (id int, pad text); SELECT pg_switch_wal()")
			leader, s := p.BaseBackup(t, quiet...), p.BaseBackup(t, quiet...)
			leader.Start(t)
			s.Start(t)
			p.SQL(t, "INSERT INTO jobs SELECT n, repeat('x', 500) FROM generate_series(1, 8000) n")
			for _, x := range []*pgtest.Server{leader, s} {
				x.WaitSQL(t, "SELECT count(*) FROM jobs", "8000")
			}
			had, err := lsn.Parse(s.SQL(t, "SELECT pg_last_wal_replay_lsn()"))
			if err != nil {
				t.Fatal(err)
			}
			p.Kill(t)
			leader.SQL(t, "SELECT pg_promote()")

			// First it is sent the rest of timeline 1, from the beginning of the file on, and then timeline 2, from there on again.
			host, port, _ := net.SplitHostPort(limited(t, net.JoinHostPort(leader.Host, fmt.Sprint(leader.Port)), int64(had%(16<<20))+1<<20))
			s.SQL(t, fmt.Sprintf("ALTER SYSTEM SET primary_conninfo = 'host=%s port=%s user=postgres'", host, port))
			s.SQL(t, "SELECT pg_reload_conf()")
			dir := s.Outside(s.PGDATA())
			var file string
			for end := time.Now().Add(30 * time.Second); file == "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				found, _ := filepath.Glob(filepath.Join(dir, "pg_wal", "00000002????????????????"))
				if len(found) > 0 {
					b, _ := os.ReadFile(found[0])
					if n := len(strings.TrimRight(string(b), "\x00")); n > 1<<19 {
						file = found[0]
						t.Logf("%s holds %d bytes", filepath.Base(file), n)
					}
				}
			}
			if file == "" {
				t.Fatalf("nothing of timeline 2 was received:\n%s", s.Log())
			}
			time.Sleep(300 * time.Millisecond)
			s.Kill(t)

			tools := inside(t, s)
			c, err := ReadControl(t.Context(), tools, dir)
			if err != nil {
				t.Fatal(err)
			}
			if w := find(t, s, tools); w.Timeline != 1 || w.End < had {
				t.Errorf("the WAL is found to end at %s on timeline %d, and went to %s on 1", w.End, w.Timeline, had)
			}
			if line, err := DropStub(dir, c); line != 2 || err != nil {
				t.Errorf("dropped %d, %v", line, err)
			}
			s.WriteFile(t, s.PGDATA()+"/postgresql.auto.conf", []byte("primary_conninfo = ''\n"), 0o600)
			s.Launch(t)
			var at string
			for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				if !s.Running() {
					break
				}
				at, _ = s.TrySQL("postgres", "SELECT pg_last_wal_replay_lsn()")
				if got, err := lsn.Parse(at); err == nil && got >= had {
					return
				}
			}
			t.Errorf("it had %s, and after a restart without an upstream it has %q", had, at)
		})
	}
}
