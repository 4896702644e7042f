package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/seeding"
)

var kills = flag.Int("kills", 6, "how often a clone is killed at a random moment")

// dieAfter runs seed until it has reached a step and kills it there.
func (p *pod) dieAfter(stepkill, step string) {
	p.t.Helper()
	env := []string{"PGSPAN_TEST_DIE_AFTER=" + step}
	if step == seeding.StepCopying {
		env = append(env, "PGSPAN_CLONE_MAX_RATE=10Mi") // else it has passed before anything could be told
	}
	proc := p.start(stepkill, env...)
	for end := time.Now().Add(patience); !strings.Contains(proc.Stdout(), "reached "+step+"\n"); time.Sleep(5 * time.Millisecond) {
		select {
		case <-proc.Done():
			p.t.Fatalf("seed ended before it reached %s:\n%s%s", step, proc.Stdout(), proc.Stderr())
		default:
		}
		if time.Now().After(end) {
			p.t.Fatalf("seed did not reach %s:\n%s", step, proc.Stderr())
		}
	}
	proc.Kill() // with everything that it has started, as the end of a container
}

// sound fails the test when what lies on the volume could be mistaken for data that it is not.
func (p *pod) sound(when string) {
	p.t.Helper()
	entry, err := notes.ReadJournal(p.paths())
	if err != nil {
		p.t.Fatalf("%s: %v", when, err)
	}
	if !exists(p.paths().Data()) {
		return
	}
	if entry != nil && entry.Stage != notes.Complete {
		p.t.Errorf("%s: a data directory and a step that only began: %v", when, entry)
	}
	out, err := p.Run(pgtest.Command{Path: p.BinDir() + "/pg_controldata", Args: []string{p.volume + "/pgdata"}})
	if err != nil || !strings.Contains(out, "Database system identifier") {
		p.t.Errorf("%s: the data directory has no control file: %v", when, err)
	}
	if exists(p.paths().NewData()) {
		p.t.Errorf("%s: pgdata and pgdata.new are both there", when)
	}
}

func TestCloneKilledAfterEachStepEndsRight(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	l.grow(t, 15)
	stepkill := root.Install(t, pgtest.Build(t, "./agents/internal/seeding/testdata/stepkill"))
	for _, step := range seeding.CloneSteps() {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, root, "db-replica-0", root.TempDir(t))
			p.replica(l)
			p.dieAfter(stepkill, step)
			p.sound("after " + step)
			p.seed()
			p.sound("at the end")
			if entry, err := notes.ReadJournal(p.paths()); entry != nil || err != nil {
				t.Errorf("the journal is open: %v %v", entry, err)
			}
			if note := p.note(); note.SystemID != l.id || note.Member != p.member() || !note.Primary.IsZero() {
				t.Errorf("note: %+v", note)
			}
			p.verify()
		})
	}
}

// verify compares every file of a clone with the manifest that came with it.
func (p *pod) verify() {
	p.t.Helper()
	verify := pgtest.Command{Path: "pg_verifybackup", Args: []string{"--no-parse-wal", "--ignore=standby.signal", p.volume + "/pgdata"}}
	if _, err := p.Run(verify); err != nil {
		p.t.Error(err)
	}
}

func TestInitdbKilledAfterEachStepEndsRight(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	stepkill := root.Install(t, pgtest.Build(t, "./agents/internal/seeding/testdata/stepkill"))
	for _, step := range seeding.InitSteps() {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, root, "db-primary-0", root.TempDir(t))
			p.bootstrap()
			p.dieAfter(stepkill, step)
			p.sound("after " + step)
			id := ""
			if m, ok, err := notes.ReadMember(p.paths()); err == nil && ok {
				id = m.SystemID
			}
			p.seed()
			p.sound("at the end")
			note := p.note()
			if id != "" && note.SystemID != id {
				t.Errorf("the database was made a second time: %s, then %s", id, note.SystemID)
			}
			if note.Primary.Local != 1 || note.PrimaryLine != 1 {
				t.Errorf("note: %+v", note)
			}
			p.serve().wait("SELECT system_identifier, pg_is_in_recovery() FROM pg_control_system()", note.SystemID+"|f")
		})
	}
}

// A primary's note must outlive a claim that goes to another member: what only began becomes a clone.
func TestInitdbThatWasInterruptedAndThenDoneByAnother(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	stepkill := root.Install(t, pgtest.Build(t, "./agents/internal/seeding/testdata/stepkill"))
	p := newPod(t, root, "db-primary-0", root.TempDir(t))
	p.bootstrap()
	p.dieAfter(stepkill, seeding.StepChecked)
	l := newLeader(t, 17)
	p.replica(l)
	p.seed()
	if note := p.note(); note.SystemID != l.id || !note.Primary.IsZero() {
		t.Errorf("note: %+v", note)
	}
}

// Kills at random moments find what lies between the steps.
func TestCloneKilledAtRandomMomentsEndsRight(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	seed := seedBinary(t, root)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	began := time.Now()
	p.seed()
	whole := time.Since(began)
	for i := range *kills {
		p := newPod(t, root, "db-replica-0", root.TempDir(t))
		p.replica(l)
		delay := time.Duration(rand.Float64() * float64(whole))
		proc := p.start(seed)
		time.Sleep(delay) // the moment is the point of the test
		proc.Kill()
		when := fmt.Sprintf("kill %d after %v of %v", i, delay, whole)
		p.sound(when)
		p.seed()
		p.sound(when + ", at the end")
		p.verify()
		if note := p.note(); note.SystemID != l.id {
			t.Errorf("%s: note %+v", when, note)
		}
	}
	p.serve().wait("SELECT count(*) FROM jobs", "1000")
}

func TestSecondSeedOnOneVolumeWaitsAndNamesTheHolder(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	l.grow(t, 20)
	volume := root.TempDir(t)
	first, second := newPod(t, root, "db-replica-0", volume), newPod(t, root, "db-replica-0-again", volume)
	first.replica(l)
	second.replica(l)
	binary := seedBinary(t, root)
	one := first.start(binary, "PGSPAN_CLONE_MAX_RATE=5Mi")
	first.wait("the clone is under way", func(s grant.State) bool { return s.Done != nil && s.Done.Bytes > 0 })
	two := second.start(binary)
	s := second.wait("it waits for the lock", func(s grant.State) bool { return s.Phase == grant.Locking && s.Reason != "" })
	for _, want := range []string{"pod db-replica-0 ", "uid-of-db-replica-0", "node here"} {
		if !strings.Contains(s.Reason, want) {
			t.Errorf("%q does not name %s", s.Reason, want)
		}
	}
	if code := one.Wait(t, patience); code != 0 {
		t.Errorf("the first: exit status %d", code)
	}
	if code := two.Wait(t, patience); code != 0 {
		t.Errorf("the second: exit status %d", code)
	}
	if !strings.Contains(two.Stderr(), `"do":"keep"`) || strings.Contains(two.Stderr(), `"do":"clone"`) {
		t.Errorf("the second did not keep what the first had made:\n%s", two.Stderr())
	}
}
