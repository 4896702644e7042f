package pgdata

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

// controldata is what the real program says of a fresh database of major version 17.
const controldata = `pg_control version number:            1700
Database system identifier:           7710770069818742159
Database cluster state:               shut down in recovery
Latest checkpoint location:           16/B374D848
Latest checkpoint's REDO location:    16/B374D7D0
Latest checkpoint's TimeLineID:       4
Latest checkpoint's oldestCommitTsXid:0
Minimum recovery ending location:     16/B374D8C0
Min recovery ending loc's timeline:   5
Backup start location:                0/0
wal_log_hints setting:                on
max_connections setting:              250
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           3
max_locks_per_xact setting:           64
Bytes per WAL segment:                16777216
Data page checksum version:           1
`

// fake returns tools whose pg_controldata prints out and exits with code.
func fake(t *testing.T, major int, out string, code string) pgtools.Tools {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pg_controldata")
	script := "#!/bin/sh\ncat <<'END'\n" + out + "END\necho 'pg_controldata: said on stderr' >&2\nexit " + code + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return pgtools.Tools{Major: major, Path: map[string]string{pgtools.Controldata: path}}
}

// directory lays out something that looks like a data directory of major version 17.
func directory(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pgdata")
	for _, d := range []string{"pg_wal", "pg_tblspc", "global"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "PG_VERSION"), "17\n")
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFieldOfARealServerIsRead(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		s := pgtest.New(t, major)
		s.Set("max_connections", "77")
		s.Start(t)
		id := s.SQL(t, "SELECT system_identifier FROM pg_control_system()")
		s.Stop(t)
		out, err := s.Run(pgtest.Command{Path: "pg_controldata", Args: []string{"-D", s.PGDATA()}, Env: []string{"LC_ALL=C"}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseControl(out)
		if err != nil {
			t.Fatalf("PostgreSQL %d: %v", major, err)
		}
		if c.SystemID != id || !c.Clean() || c.Timeline != 1 || c.Limits["max_connections"] != 77 || c.WALSegment != 16<<20 || c.Checkpoint == 0 {
			t.Errorf("PostgreSQL %d (system id %s): got %+v", major, id, c)
		}
	}
}

func TestControlFileIsRead(t *testing.T) {
	f, err := Inspect(t.Context(), fake(t, 17, controldata, "0"), directory(t))
	if err != nil {
		t.Fatal(err)
	}
	c := f.Control
	if c == nil {
		t.Fatalf("no control file: %s", f.ControlProblem)
	}
	if c.NewestTimeline() != 5 || c.Checkpoint.String() != "16/B374D848" || !c.Checksums || c.Limits["max_prepared_transactions"] != 3 || !c.Clean() {
		t.Errorf("got %+v", *c)
	}
}

// Unreadable is a fact about the directory, with the program's own words, and not an error of ours.
func TestUnreadableControlFileIsAFact(t *testing.T) {
	for name, tc := range map[string]struct{ out, code, want string }{
		"program_fails":     {"", "1", "said on stderr"},
		"checksum_is_wrong": {"WARNING: Calculated CRC checksum does not match value stored in control file.\n" + controldata, "0", "checksum is wrong"},
		"field_is_missing":  {strings.Replace(controldata, "Database system identifier", "Nothing", 1), "0", "Database system identifier"},
		"field_is_no_LSN":   {strings.Replace(controldata, "16/B374D848", "gone", 1), "0", "Latest checkpoint location"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Inspect(t.Context(), fake(t, 17, tc.out, tc.code), directory(t))
			if err != nil || f.Control != nil || !strings.Contains(f.ControlProblem, tc.want) {
				t.Errorf("got %+v, %v; want a problem with %q", f, err, tc.want)
			}
		})
	}
}

func TestOtherMajorIsNotReadWithTheWrongProgram(t *testing.T) {
	f, err := Inspect(t.Context(), fake(t, 18, controldata, "0"), directory(t))
	if err != nil || f.Major != 17 || f.Control != nil || f.ControlProblem == "" {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestMissingAndEmptyDirectoriesAreEmpty(t *testing.T) {
	dir := t.TempDir()
	for path, exists := range map[string]bool{dir: true, filepath.Join(dir, "gone"): false} {
		f, err := Inspect(t.Context(), pgtools.Tools{}, path)
		if err != nil || !f.Empty || f.Exists != exists {
			t.Errorf("%s: got %+v, %v", path, f, err)
		}
	}
}

func TestVersionThatMakesNoSenseIsShownAsFound(t *testing.T) {
	for _, text := range []string{"9.6\n", "", "seventeen"} {
		dir := directory(t)
		write(t, filepath.Join(dir, "PG_VERSION"), text)
		f, err := Inspect(t.Context(), fake(t, 17, controldata, "0"), dir)
		if err != nil || f.Major != 0 || f.Version != strings.TrimSpace(text) || f.Empty {
			t.Errorf("%q: got %+v, %v", text, f, err)
		}
	}
}

func TestLinksOutOfTheDirectoryAreFound(t *testing.T) {
	dir := directory(t)
	inside := filepath.Join(dir, "spaces")
	for link, target := range map[string]string{
		"16384": "/mnt/fast", "16385": filepath.Dir(dir) + "/beside", "16386": inside, "16387": "../../beside2", "16388": "../spaces",
	} {
		if err := os.Symlink(target, filepath.Join(dir, "pg_tblspc", link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "pg_tblspc", "16390"), 0o700); err != nil { // in place
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "pg_wal")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "pg_wal")); err != nil {
		t.Fatal(err)
	}
	f, err := Inspect(t.Context(), fake(t, 17, controldata, "0"), dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range f.Outside {
		names = append(names, o.Name)
	}
	if got, want := strings.Join(names, " "), "16384 16385 16387 pg_wal"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// fsGroup makes the directory 2770 and PostgreSQL refuses it.
func TestModeIsRepairedAfterFsGroup(t *testing.T) {
	dir := directory(t)
	if err := os.Chmod(dir, 0o770|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if err := RepairMode(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("got %v, %v; want drwx------", info.Mode(), err)
	}
	if err := RepairMode(filepath.Join(dir, "gone")); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func TestStandbySignalComesAndGoesAndRecoverySignalGoes(t *testing.T) {
	dir := directory(t)
	for _, standby := range []bool{true, true, false, false, true} {
		write(t, filepath.Join(dir, recoverySignal), "")
		if err := SetStandby(dir, standby); err != nil {
			t.Fatal(err)
		}
		f, err := Inspect(t.Context(), fake(t, 17, controldata, "0"), dir)
		if err != nil || f.StandbySignal != standby {
			t.Errorf("got %v %v, want %v", f.StandbySignal, err, standby)
		}
		if there, _ := exists(filepath.Join(dir, recoverySignal)); there {
			t.Error("recovery.signal is still there")
		}
	}
}

func TestReservedTimelinesAreEmptyFilesAndNoTimelines(t *testing.T) {
	dir := directory(t)
	write(t, filepath.Join(dir, "pg_wal", "00000004.history"), "3\t0/1\tno reason\n")
	if err := ReserveTimelines(dir, 3, 7); err != nil {
		t.Fatal(err)
	}
	got, err := filepath.Glob(filepath.Join(dir, "pg_wal", "*.history"))
	if err != nil || len(got) != 3 {
		t.Errorf("got %v %v, want timelines 4, 5, 6", got, err)
	}
	if h, err := HighestHistory(dir); err != nil || h != 4 {
		t.Errorf("highest: got %d %v, want 4: a reservation is no timeline", h, err)
	}
	if err := ReserveTimelines(dir, 6, 7); err != nil { // nothing between
		t.Error(err)
	}
}

// Two promotions from one timeline must not get the same number: the server itself has to skip what is reserved (SAFETY D20).
// Before that the agent is killed between reserving and promoting; the standby must come up all the same.
func TestServerPromotesToTheGrantedTimeline(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		s := pgtest.New(t, major)
		s.Start(t)
		s.Stop(t)
		data := s.Outside(s.PGDATA())
		reserve := func() {
			if err := ReserveTimelines(data, 1, 6); err != nil {
				t.Fatal(err)
			}
			s.Chown(t, s.PGDATA(), pgtest.UID, pgtest.GID)
		}
		reserve() // and no promotion
		if err := SetStandby(data, true); err != nil {
			t.Fatal(err)
		}
		s.Chown(t, s.PGDATA(), pgtest.UID, pgtest.GID)
		s.Start(t)
		reserve()
		s.SQL(t, "SELECT pg_promote()")
		s.SQL(t, "CHECKPOINT")
		if got := s.SQL(t, "SELECT timeline_id FROM pg_control_checkpoint()"); got != "6" {
			t.Errorf("PostgreSQL %d: promoted to timeline %s, want 6", major, got)
		}
		s.Stop(t)

		// The reservations below the real timeline stay also when it starts as a standby, for followers that ask for each.
		if err := SetStandby(data, true); err != nil {
			t.Fatal(err)
		}
		s.Chown(t, s.PGDATA(), pgtest.UID, pgtest.GID)
		files, err := histories(data)
		if err != nil || len(files) != 5 {
			t.Errorf("PostgreSQL %d: history files %v %v, want those of 2 to 6", major, files, err)
		}
		s.Start(t)
	}
}

func TestStalePostmasterPIDIsRemoved(t *testing.T) {
	dir := directory(t)
	for range 2 {
		if err := RemovePostmasterPID(dir); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, postmasterPID), "1\n")
	}
	if err := RemovePostmasterPID(dir); err != nil {
		t.Fatal(err)
	}
	if there, _ := exists(filepath.Join(dir, postmasterPID)); there {
		t.Error("it is still there")
	}
}

func TestDirectoryOfAnotherUserIsAFact(t *testing.T) {
	root := pgtest.OpenRoot(t, 17)
	dir := root.TempDir(t)
	root.Chown(t, dir, 26, 26)
	// The test runs as root, which may read everything; what any other user meets is met in a process of its own.
	out, err := root.Run(pgtest.Command{Path: "ls", Args: []string{dir}})
	if err == nil {
		t.Fatalf("the directory can be read: %s", out)
	}
	f, err := Inspect(t.Context(), pgtools.Tools{}, root.Outside(dir))
	if err != nil || f.UID != 26 {
		t.Errorf("got %+v %v, want the owner", f, err)
	}
}
