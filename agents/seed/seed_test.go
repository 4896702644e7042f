package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// each runs a test for every major version.
func each(t *testing.T, test func(t *testing.T, root *pgtest.Root)) {
	for _, major := range pgtest.Majors(t) {
		root := pgtest.OpenRoot(t, major)
		t.Run(root.BinDir()[len("/usr/lib/postgresql/"):], func(t *testing.T) {
			t.Parallel()
			test(t, root)
		})
	}
}

func TestReplicaIsClonedAndStreams(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, root *pgtest.Root) {
		l := newLeader(t, root.Major)
		p := newPod(t, root, "db-replica-0", root.TempDir(t))
		p.replica(l)
		p.seed()
		if note := p.note(); note.Member != p.member() || note.SystemID != l.id || note.Major != root.Major || !note.Primary.IsZero() || note.HighestEpoch.Local != 3 {
			t.Errorf("note: %+v", note)
		}
		if !exists(p.data("standby.signal")) {
			t.Error("a clone lies there without standby.signal")
		}
		s := p.serve()
		s.wait("SELECT count(*) FROM jobs", "1000")
		l.SQL(t, "INSERT INTO jobs VALUES (1001)")
		s.wait("SELECT max(id) FROM jobs", "1001")
		l.WaitSQL(t, "SELECT application_name || ' ' || ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)", "m_db-replica-0 true")
		s.wait("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL", "0")
		s.wait("SELECT count(*) FROM pg_ident_file_mappings WHERE error IS NOT NULL", "0")
		s.wait("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL", "0")
		s.wait("SELECT string_agg(database::text || user_name::text, ',') FROM pg_hba_file_rules WHERE auth_method = 'trust'", "{all}{postgres}")
	})
}

func TestDatabaseIsCreatedUnderTheClaim(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, root *pgtest.Root) {
		p := newPod(t, root, "db-primary-0", root.TempDir(t))
		p.bootstrap()
		p.seed()
		note := p.note()
		if note.Primary != (epoch.Epoch{Local: 1}) || note.PrimaryLine != 1 || note.Initdb == nil {
			t.Errorf("note: %+v", note)
		}
		s := p.serve()
		s.wait("SELECT pg_is_in_recovery()", "f")
		s.wait("SHOW data_checksums", "on")
		s.wait("SHOW server_encoding", "UTF8")
		s.wait("SELECT system_identifier FROM pg_control_system()", note.SystemID)
		provider := "c|C.UTF-8"
		if root.Major >= 17 {
			provider = "b|C.UTF-8"
		}
		s.wait("SELECT datlocprovider, datctype FROM pg_database WHERE datname = 'postgres'", provider)
		s.wait("SELECT rolname FROM pg_roles WHERE rolsuper", "postgres")
		for name, want := range map[string]string{"wal_level": "logical", "archive_mode": "on", "wal_log_hints": "on", "restart_after_crash": "off", "ssl": "on", "password_encryption": "scram-sha-256"} {
			s.wait("SHOW "+name, want)
		}
	})
}

// Where the record has reserved another timeline than 1, the new database becomes primary by a promotion and not by its first start.
func TestDatabaseOfALaterClaimIsNotNotedAsPrimary(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-primary-0", root.TempDir(t))
	p.bootstrap(func(g *grant.Grant) { g.Epoch.Local, g.Timeline = 2, 2 })
	p.seed()
	if note := p.note(); !note.Primary.IsZero() || note.HighestEpoch.Local != 2 {
		t.Errorf("note: %+v", note)
	}
}

func TestSecondRunKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	p.seed()
	l.Stop(t) // nobody is asked
	began := time.Now()
	proc := p.seed()
	t.Logf("second run took %v", time.Since(began))
	if !strings.Contains(proc.Stderr(), `"do":"keep"`) {
		t.Errorf("no plan to keep in\n%s", proc.Stderr())
	}
}

// fsGroup makes directories 2770 at each mount, and PostgreSQL refuses them.
func TestModeAfterFsGroupIsRepaired(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	chmod(t, p.Outside(p.volume), 0o2770)
	p.seed()
	chmod(t, p.paths().Data(), 0o2770)
	p.seed()
	p.serve().wait("SELECT count(*) FROM jobs", "1000")
}

// A clone must not count as a synchronous standby (SAFETY D7).
func TestCloneHasANameAndASlotOfItsOwn(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	l.grow(t, 20)
	l.SQL(t, "SELECT pg_create_physical_replication_slot('pgspan_mine')")
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l, func(g *grant.Grant) { g.Slot = "pgspan_mine" })
	proc := p.start(seedBinary(t, root), "PGSPAN_CLONE_MAX_RATE=8Mi")
	p.wait("the clone is under way", func(s grant.State) bool { return s.Done != nil && s.Done.Bytes > 0 })
	l.WaitSQL(t, "SELECT DISTINCT application_name FROM pg_stat_replication", "m_db-replica-0_clone")
	if got := l.SQL(t, "SELECT active FROM pg_replication_slots WHERE slot_name = 'pgspan_mine'"); got != "f" {
		t.Errorf("the member's own slot is in use by the clone")
	}
	if code := proc.Wait(t, patience); code != 0 {
		t.Errorf("exit status %d", code)
	}
	l.WaitSQL(t, "SELECT count(*) FROM pg_replication_slots WHERE slot_name <> 'pgspan_mine'", "0")
}

func TestProgressCanBeReadFromOutside(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	l.grow(t, 30)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	proc := p.start(seedBinary(t, root), "PGSPAN_CLONE_MAX_RATE=10Mi")
	s := p.wait("a rate is known", func(s grant.State) bool { return s.Done != nil && s.Done.PerSecond > 0 })
	if d := s.Done; s.Phase != grant.Seeding || s.Plan != "clone" || !d.TotalKnown || d.Total < 30<<20 || d.Bytes >= d.Total || d.SecondsETA <= 0 || d.PerSecond > 15<<20 {
		t.Errorf("state %+v, progress %+v", s, *d)
	}
	if code := proc.Wait(t, patience); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if !strings.Contains(proc.Stderr(), `"msg":"clone","agent":"seed","pod":"db-replica-0","step":"copy"`) {
		t.Errorf("no progress in the log:\n%s", proc.Stderr())
	}
}

func TestLeaderThatDiesDuringACloneIsWaitedFor(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	l.grow(t, 20)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	proc := p.start(seedBinary(t, root), "PGSPAN_CLONE_MAX_RATE=5Mi")
	p.wait("the clone is under way", func(s grant.State) bool { return s.Done != nil && s.Done.Bytes > 0 })
	l.Kill(t)
	p.wait("the failure is told", func(s grant.State) bool {
		return s.Phase == grant.Waiting && strings.Contains(s.Reason, "base backup from db-primary-0") && strings.Contains(s.Reason, "next try in")
	})
	if exists(p.paths().Data()) {
		t.Error("half a clone lies where the data directory belongs")
	}
	l.Start(t)
	if code := proc.Wait(t, patience); code != 0 {
		t.Errorf("exit status %d", code)
	}
	p.serve().wait("SELECT count(*) FROM jobs", "1000")
}

func TestCloneThatStallsIsBegunAgain(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	l.grow(t, 20)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	proc := p.start(seedBinary(t, root), "PGSPAN_CLONE_MAX_RATE=5Mi", "PGSPAN_CLONE_STALL=3s")
	p.wait("the clone is under way", func(s grant.State) bool { return s.Done != nil && s.Done.Bytes > 0 })
	freeze(t, l, true)
	p.wait("the stall is told", func(s grant.State) bool { return strings.Contains(s.Reason, "nothing has arrived for too long") })
	freeze(t, l, false)
	if code := proc.Wait(t, patience); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// The leader changes while a clone is under way: the clone goes on from the new one.
func TestCloneFollowsTheGrantToAnotherLeader(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	old := newLeader(t, 17)
	old.grow(t, 20)
	next := newLeader(t, 17) // a copy of the same template: the same system identifier
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(old)
	proc := p.start(seedBinary(t, root), "PGSPAN_CLONE_MAX_RATE=2Mi")
	p.wait("the clone is under way", func(s grant.State) bool { return s.Done != nil && s.Done.Bytes > 0 })
	next.SQL(t, "CREATE TABLE only_here ()")
	p.secret(next.bundle)
	p.replica(next)
	if code := proc.Wait(t, patience); code != 0 {
		t.Errorf("exit status %d", code)
	}
	p.serve().wait("SELECT count(*) FROM pg_class WHERE relname = 'only_here'", "1")
}

func TestEmptyVolumeWaitsUntilKeeperSaysWhatToDo(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.secret(l.bundle)
	proc := p.start(seedBinary(t, root))
	p.wait("it waits for a first grant", func(s grant.State) bool {
		return s.Phase == grant.Waiting && strings.Contains(s.Reason, "not written a grant") && s.Volume != nil && s.Volume.Empty
	})
	p.replica(l, func(g *grant.Grant) { g.MayClone, g.Reason = false, "another clone is under way" })
	p.wait("it says what keeper waits for", func(s grant.State) bool { return strings.Contains(s.Reason, "another clone is under way") })
	if exists(p.paths().NewData()) || exists(p.paths().Journal()) {
		t.Error("something was begun without a permission")
	}
	p.replica(l)
	if code := proc.Wait(t, patience); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// A stale primary_conninfo of ALTER SYSTEM comes along with a base backup and would win over the grant's.
func TestSettingsOfAlterSystemThatAreOursAreRemoved(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	l.SQL(t, "ALTER SYSTEM SET primary_conninfo = 'host=nowhere'")
	l.SQL(t, "ALTER SYSTEM SET work_mem = '5MB'")
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	p.seed()
	s := p.serve()
	s.wait("SHOW work_mem", "5MB")
	l.SQL(t, "INSERT INTO jobs VALUES (1001)")
	s.wait("SELECT max(id) FROM jobs", "1001")
}

// PostDock #115: a standby with fewer connections than its primary does not start.
func TestStandbyHasNoLowerLimitsThanItsPrimary(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17, pgtest.WithSetting("max_connections", "90"))
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	p.seed()
	p.serve().wait("SHOW max_connections", "90")
}

// A base backup that is started by hand, without a thought, must not become a second primary.
func TestCloneIsAStandbyFromBirth(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	p.seed()
	if err := pgdata.RemovePostmasterPID(p.paths().Data()); err != nil {
		t.Fatal(err)
	}
	p.serve().wait("SELECT pg_is_in_recovery()", "t")
}
