package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

func TestDeposedPrimaryIsRewound(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			t.Parallel()
			p, _, l := deposed(t, major)
			p.follows(l, 2)
			p.seed()
			p.equal(l)
			h := p.history()
			for _, want := range []string{"rewind begun", "given up by rewind", `"transactions":"100"`, `"relations":"`, "rewind done"} {
				if !strings.Contains(h, want) {
					t.Errorf("the history does not say %s:\n%s", want, h)
				}
			}
			kept, err := filepath.Glob(filepath.Join(p.paths().Notes(), "diverged-0.4-*", "00000001????????????????"))
			if err != nil || len(kept) == 0 {
				t.Errorf("no WAL was kept: %v %v", kept, err)
			}
			if note := p.note(); note.Started != notes.AsStandby || note.PrimaryLine != 1 {
				t.Errorf("note: %+v", note)
			}
		})
	}
}

func TestPrimaryKilledUnderLoadIsRewound(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-primary-0", root.TempDir(t))
	old := p.leads(17)
	l := old.standby(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// It ends by the kill, which is an error.
		_, _ = old.TrySQL("postgres", "DO $$ BEGIN FOR i IN 10001..999999 LOOP INSERT INTO jobs VALUES (i); UPDATE jobs SET id = -id WHERE id = i % 1000; COMMIT; END LOOP; END $$")
	}()
	l.WaitSQL(t, "SELECT count(*) > 1500 FROM jobs", "t")
	l.promote(t, 2)
	n := old.SQL(t, "SELECT max(id) FROM jobs")
	old.WaitSQL(t, "SELECT max(id) > "+n+" + 500 FROM jobs", "t")
	old.Kill(t)
	<-ended
	l.write(t, 7001, 7050)
	p.wasPrimary(old.id, 1)
	p.follows(l, 2)
	if said := p.seed().Stderr(); !strings.Contains(said, `"do":"rewind"`) {
		t.Errorf("it was not rewound:\n%s", said)
	}
	p.equal(l)
}

func TestPrimaryThatIsNotAheadIsNotRewound(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-primary-0", root.TempDir(t))
	old := p.leads(17)
	l := old.standby(t)
	old.write(t, 2001, 2100)
	l.upTo(t, old)
	old.Kill(t)
	l.promote(t, 2)
	l.write(t, 7001, 7050)
	p.wasPrimary(old.id, 1)
	p.follows(l, 2)
	if said := p.seed().Stderr(); strings.Contains(said, `"do":"rewind"`) || !strings.Contains(said, `"do":"keep"`) {
		t.Errorf("it was not kept:\n%s", said)
	}
	p.equal(l)
}

// A follower that has received more than the winner is ahead of it like an old primary.
func TestReplicaAheadOfTheWinnerIsRewound(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*leader, *testing.T){
		"killed": func(s *leader, t *testing.T) { s.Kill(t) },
		"stopped_before_it_had_replayed": func(s *leader, t *testing.T) {
			s.SQL(t, "CHECKPOINT")
			s.Stop(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := pgtest.OpenRoot(t, 17)
			p, first := newPod(t, root, "db-replica-0", root.TempDir(t)), newPod(t, root, "db-primary-0", root.TempDir(t))
			old := first.leads(17)
			l := old.standby(t)
			ahead := old.standby(t, pgtest.WithVolume(p.volume))
			old.write(t, 2001, 2010)
			l.upTo(t, old)
			ahead.upTo(t, old)
			l.Kill(t)
			if strings.HasPrefix(name, "stopped") {
				ahead.SQL(t, "SELECT pg_wal_replay_pause()")
				ahead.WaitSQL(t, "SELECT pg_get_wal_replay_pause_state() ~ 'paus'", "t")
			}
			old.write(t, 5001, 5100)
			ahead.WaitSQL(t, "SELECT pg_last_wal_receive_lsn() >= '"+old.SQL(t, "SELECT pg_current_wal_lsn()")+"'", "t")
			end(ahead, t)
			old.Kill(t)
			l.Start(t)
			l.promote(t, 2)
			l.write(t, 7001, 7050)
			p.wasStandby(old.id)
			p.follows(l, 2)
			if said := p.seed().Stderr(); !strings.Contains(said, `"do":"rewind"`) {
				t.Errorf("it was not rewound:\n%s", said)
			}
			p.equal(l)
		})
	}
}

// twoPromotions is a primary, old, on first's volume, and two standbys that were both promoted: lost, on p's volume, to timeline 2, and l to line.
func twoPromotions(t *testing.T, line int) (p, first *pod, old, lost, l *leader) {
	t.Helper()
	root := pgtest.OpenRoot(t, 17)
	p, first = newPod(t, root, "db-replica-0", root.TempDir(t)), newPod(t, root, "db-primary-0", root.TempDir(t))
	old = first.leads(17)
	l = old.standby(t)
	lost = old.standby(t, pgtest.WithVolume(p.volume))
	l.upTo(t, old)
	lost.upTo(t, old)
	lost.promote(t, 2)
	l.promote(t, line)
	return p, first, old, lost, l
}

// Two standbys of one primary are promoted one after the other. The second one knows that the first number is taken.
func TestBothOfTwoPromotionsEndOnOnePast(t *testing.T) {
	t.Parallel()
	p, first, old, lost, l := twoPromotions(t, 3)
	lost.write(t, 6002, 6002)
	l.write(t, 6003, 6003)
	old.write(t, 6001, 6001)
	old.Kill(t)
	lost.Kill(t)
	p.wasPrimary(old.id, 2)
	first.wasPrimary(old.id, 1)
	first.noted(notes.Member{Member: first.member(), SystemID: old.id, Major: 17, Primary: epoch.Epoch{Local: 2}, PrimaryLine: 1, HighestEpoch: epoch.Epoch{Local: 2}})
	for _, pod := range []*pod{p, first} {
		pod.follows(l, 3)
		pod.seed()
		pod.equal(l)
	}
}

// One number for two pasts: pg_rewind would say that nothing is to be done, and the member would stream with other rows.
func TestSameTimelineNumberOfAnotherReignIsRefused(t *testing.T) {
	t.Parallel()
	p, _, old, lost, l := twoPromotions(t, 2)
	lost.Kill(t)
	p.wasPrimary(old.id, 2)
	p.follows(l, 2)
	was := p.fingerprint()
	proc := p.start(seedBinary(t, p.Root))
	p.waitRefused("has given the same number to epoch 0.4: it has diverged")
	if p.fingerprint() != was {
		t.Error("the data directory has changed")
	}
	proc.Kill()
}

func TestStandbyOpenedByHandIsRewound(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 18)
	p, first := newPod(t, root, "db-replica-0", root.TempDir(t)), newPod(t, root, "db-primary-0", root.TempDir(t))
	l := first.leads(18)
	hand := l.standby(t, pgtest.WithVolume(p.volume))
	hand.upTo(t, l)
	hand.promote(t, 2)
	hand.write(t, 5001, 5010)
	l.write(t, 7001, 7010)
	hand.Kill(t)
	p.wasStandby(l.id)
	p.follows(l, 1)
	said := p.seed().Stderr()
	// From 17 on pg_rewind keeps the files of WAL that it has read, and the next vote would say that this member is on the timeline of before.
	left, err := filepath.Glob(filepath.Join(p.paths().Data(), "pg_wal", "00000002*"))
	if err != nil || len(left) > 0 || !strings.Contains(said, "WAL of an abandoned timeline set aside") {
		t.Errorf("left of the timeline that was given up: %v, %v:\n%s", left, err, said)
	}
	p.equal(l)
	if h := p.history(); !strings.Contains(h, `"transactions":"10"`) {
		t.Errorf("the history does not count what was given up:\n%s", h)
	}
}

func TestMoreThanMayBeGivenUpStaysUntouched(t *testing.T) {
	t.Parallel()
	p, _, l := deposed(t, 17)
	p.follows(l, 2, func(g *grant.Grant) { g.MaxDiscard = 1000 })
	was := p.fingerprint()
	proc := p.start(seedBinary(t, p.Root))
	s := p.waitRefused("gives up no more than 1000 by itself")
	if !strings.Contains(s.Reason, "set failover.maxAutoDiscard to ") {
		t.Errorf("the sentence does not say what to set: %s", s.Reason)
	}
	if p.fingerprint() != was {
		t.Error("the data directory has changed")
	}
	p.follows(l, 2)
	if code := proc.Wait(t, patience); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	p.equal(l)
}

func TestRewindWithoutItsProgramIsRefused(t *testing.T) {
	t.Parallel()
	p, _, l := deposed(t, 17)
	dir := p.TempDir(t)
	for _, name := range []string{"postgres", "pg_controldata", "pg_waldump", "pg_basebackup", "psql"} {
		p.WriteFile(t, dir+"/"+name, p.ReadFile(t, p.BinDir()+"/"+name), 0o755)
	}
	p.settings("  binDir: " + dir + "\n")
	p.follows(l, 2)
	was := p.fingerprint()
	proc := p.start(seedBinary(t, p.Root))
	p.waitRefused("the image has no pg_rewind in " + dir)
	if p.fingerprint() != was {
		t.Error("the data directory has changed")
	}
	proc.Kill()
}

// The WAL since the last checkpoint that both have is gone. A dry run finds that out, and the directory stays data.
func TestRewindThatCannotWorkChangesNothing(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-primary-0", root.TempDir(t))
	old := p.leadsWith(17, pgtest.WithSetting("wal_keep_size", "0"))
	l := old.standby(t)
	l.upTo(t, old)
	l.promote(t, 2)
	for id := range 3 {
		old.write(t, 5000+id, 5000+id)
		old.SQL(t, "SELECT pg_switch_wal()")
		old.SQL(t, "CHECKPOINT")
	}
	want := old.SQL(t, rows)
	old.Kill(t)
	p.wasPrimary(old.id, 1)
	p.follows(l, 2)
	proc := p.start(seedBinary(t, root))
	p.waitRefused("pg_rewind cannot bring this member back")
	if e, err := notes.ReadJournal(p.paths()); err != nil || e == nil || e.Stage != notes.Began {
		t.Errorf("journal: %v %v", e, err)
	}
	proc.Kill()
	// It can still be looked at, and even lead.
	p.replica(l, func(g *grant.Grant) { g.Upstream, g.Epoch, g.Timeline = nil, epoch.Epoch{Local: 4}, 2 })
	p.seed()
	p.serve().wait(rows, want)
}

// Without pg_waldump the control file has to do, and the count is not known.
func TestRewindWithoutWaldump(t *testing.T) {
	t.Parallel()
	p, old, l := deposed(t, 17)
	old.Start(t)
	old.SQL(t, "CHECKPOINT")
	old.Kill(t)
	dir := p.TempDir(t)
	for _, name := range []string{"postgres", "pg_controldata", "pg_rewind", "pg_basebackup", "psql"} {
		p.WriteFile(t, dir+"/"+name, p.ReadFile(t, p.BinDir()+"/"+name), 0o755)
	}
	p.settings("  binDir: " + dir + "\n")
	p.follows(l, 2)
	p.seed()
	if h := p.history(); !strings.Contains(h, `"transactions":"unknown"`) || !strings.Contains(h, "at least") {
		t.Errorf("the history claims to know:\n%s", h)
	}
	p.equal(l)
}
