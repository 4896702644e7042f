package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/seeding"
)

// lostVolumes makes pods whose volumes are copies of one deposed primary's, as often as they are needed.
func lostVolumes(t *testing.T) (func(t *testing.T) *pod, *leader) {
	t.Helper()
	_, old, l := deposed(t, 17)
	return func(t *testing.T) *pod {
		t.Helper()
		p := newPod(t, old.Root, "db-primary-0", old.TempDir(t))
		old.CopyTo(t, p.volume+"/pgdata")
		p.wasPrimary(old.id, 1)
		p.follows(l, 2, func(g *grant.Grant) { g.MayClone = true }) // keeper allows it for what a rewind has left
		return p
	}, l
}

// harmless fails the test when the next plan could take the directory for what it is not.
func (p *pod) harmless(when string) {
	p.t.Helper()
	e, err := notes.ReadJournal(p.paths())
	if err != nil {
		p.t.Fatalf("%s: %v", when, err)
	}
	if e != nil && e.Stage == notes.Complete && e.Step == notes.StepRewind {
		return // whole, though standby.signal may be missing
	}
	if e == nil && exists(p.paths().Data()) && !exists(p.data("standby.signal")) && p.note().Started == notes.AsStandby {
		p.t.Errorf("%s: the journal is closed and the server would start writable", when)
	}
}

func TestRewindKilledAfterEachStepEndsRight(t *testing.T) {
	t.Parallel()
	lost, l := lostVolumes(t)
	stepkill := l.Install(t, pgtest.Build(t, "./agents/internal/seeding/testdata/stepkill"))
	cloned := map[string]bool{seeding.StepRewriting: true, seeding.StepRewinding: true, seeding.StepRewound: true}
	for _, step := range seeding.RewindSteps() {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			p := lost(t)
			p.dieAfter(stepkill, step)
			p.harmless("after " + step)
			said := p.seed().Stderr()
			if got := strings.Contains(said, `"do":"clone"`); got != cloned[step] {
				t.Errorf("cloned: %v, want %v\n%s", got, cloned[step], said)
			}
			p.equal(l)
		})
	}
}

// What a rewind has left is replaced by a clone, in a swap that may be killed as well. The other steps are those of every clone.
func TestCloneInPlaceOfAnInterruptedRewindKilledAfterEachStepEndsRight(t *testing.T) {
	t.Parallel()
	lost, l := lostVolumes(t)
	stepkill := l.Install(t, pgtest.Build(t, "./agents/internal/seeding/testdata/stepkill"))
	for _, step := range []string{seeding.StepJournaled, seeding.StepCopying, seeding.StepComplete, seeding.StepGaveWay, seeding.StepSwapped, seeding.StepPlaced} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			p := lost(t)
			p.halfRewound(l)
			p.dieAfter(stepkill, step)
			p.seed()
			if _, err := os.Lstat(p.data("left by the rewind")); err == nil {
				t.Error("the directory was taken for data")
			}
			p.equal(l)
		})
	}
}

// halfRewound makes of a volume what an interrupted pg_rewind leaves at its worst: files that are cut short.
func (p *pod) halfRewound(l *leader) {
	p.t.Helper()
	for _, name := range []string{"pg_xact/0000", "postgresql.conf", "PG_VERSION"} {
		if err := os.Truncate(p.data(name), 0); err != nil {
			p.t.Fatal(err)
		}
	}
	p.WriteFile(p.t, p.volume+"/pgdata/left by the rewind", nil, 0o600)
	e := notes.Entry{Step: notes.StepRewind, Stage: notes.Rewriting, Cause: "diverged", Since: time.Now().UTC(), Member: p.member(), From: "db-primary-0"}
	if err := notes.WriteJournal(p.paths(), e); err != nil {
		p.t.Fatal(err)
	}
	p.Chown(p.t, p.volume, p.uid, p.gid)
}

// Kills at random moments find what lies between the steps: pg_rewind at work, single-user recovery, the copying of WAL.
func TestRewindKilledAtRandomMomentsEndsRight(t *testing.T) {
	t.Parallel()
	lost, l := lostVolumes(t)
	seed := seedBinary(t, l.Root)
	p := lost(t)
	began := time.Now()
	p.seed()
	whole := time.Since(began)
	p.equal(l)
	for i := range *kills / 2 {
		p := lost(t)
		delay := time.Duration(rand.Float64() * float64(whole))
		proc := p.start(seed)
		time.Sleep(delay) // the moment is the point of the test
		proc.Kill()
		p.harmless(fmt.Sprintf("kill %d after %v of %v", i, delay, whole))
		p.seed()
		p.equal(l)
		if t.Failed() {
			t.Fatalf("kill %d after %v of %v", i, delay, whole)
		}
	}
}

// A broken directory waits for its clone and is not removed before that has come.
func TestInterruptedRewindWaitsUntilItMayBeCloned(t *testing.T) {
	t.Parallel()
	lost, l := lostVolumes(t)
	p := lost(t)
	p.halfRewound(l)
	p.follows(l, 2)
	was := p.fingerprint()
	proc := p.start(seedBinary(t, p.Root))
	p.wait("it waits to be cloned", func(s grant.State) bool {
		return s.Phase == grant.Waiting && strings.Contains(s.Reason, "must be cloned") && s.Volume != nil && strings.HasPrefix(s.Volume.OpenJournal, "rewind (rewriting")
	})
	if p.fingerprint() != was {
		t.Error("the data directory has changed")
	}
	p.follows(l, 2, func(g *grant.Grant) { g.MayClone = true })
	if code := proc.Wait(t, patience); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	p.equal(l)
}

// The source must be the leader that was granted, on its timeline. Nothing is changed before that is sure.
func TestRewindFromSomebodyElseIsNotBegun(t *testing.T) {
	t.Parallel()
	lost, l := lostVolumes(t)
	other := l.standby(t)
	foreign := newPod(t, l.Root, "db-primary-9", l.TempDir(t))
	for name, tc := range map[string]struct {
		change func(*pod)
		words  string
	}{
		"still_in_recovery": {func(p *pod) { p.follows(other, 2, func(g *grant.Grant) { g.Lines = l.past(t, 2) }) }, "it is in recovery"},
		"another_timeline":  {func(p *pod) { p.follows(l, 2, func(g *grant.Grant) { g.Timeline = 3 }) }, "it writes on timeline 2, granted is 3"},
		"foreign_database": {func(p *pod) {
			f := foreign.leadsForeign()
			p.follows(f, 2, func(g *grant.Grant) { g.Lines = l.past(t, 2); g.SystemID = l.id })
		}, "it holds the foreign database"},
		"nobody_there": {func(p *pod) {
			p.follows(l, 2, func(g *grant.Grant) { u := *g.Upstream; u.Port = 1; g.Upstream = &u })
		}, "ask who it is"},
	} {
		t.Run(name, func(t *testing.T) {
			p := lost(t)
			tc.change(p)
			proc := p.start(seedBinary(t, p.Root))
			p.wait(tc.words, func(s grant.State) bool { return s.Phase == grant.Waiting && strings.Contains(s.Reason, tc.words) })
			if e, err := notes.ReadJournal(p.paths()); err != nil || e == nil || e.Stage != notes.Began {
				t.Errorf("journal: %v %v", e, err)
			}
			p.follows(l, 2)
			if code := proc.Wait(t, patience); code != 0 {
				t.Fatalf("exit status %d", code)
			}
			p.equal(l)
		})
	}
}

// leadsForeign is a leader of another database on timeline 2.
func (p *pod) leadsForeign() *leader {
	p.t.Helper()
	l := p.leadsWith(17, pgtest.WithFreshInitdb())
	s := l.standby(p.t.(*testing.T))
	s.promote(p.t.(*testing.T), 2)
	return s
}

func TestWALOfManyRewindsDoesNotFillTheVolume(t *testing.T) {
	t.Parallel()
	lost, l := lostVolumes(t)
	p := lost(t)
	for i := range 8 {
		p.WriteFile(t, fmt.Sprintf("%s/notes/diverged-0.%d-2025010%dT000000Z/000000010000000000000001", p.volume, 20-i, i), nil, 0o600)
	}
	p.seed()
	sets, err := filepath.Glob(filepath.Join(p.paths().Notes(), "diverged-*"))
	if err != nil || len(sets) != 5 {
		t.Errorf("kept are %v %v, want the newest and four others", sets, err)
	}
	if exists(filepath.Join(p.paths().Notes(), "diverged-0.17-20250103T000000Z")) || !exists(filepath.Join(p.paths().Notes(), "diverged-0.16-20250104T000000Z")) {
		t.Errorf("it is not the oldest that were removed: %v", sets)
	}
	p.equal(l)
}
