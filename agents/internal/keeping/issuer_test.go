package keeping

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/record"
)

var (
	me    = grant.Incarnation{Member: "pvc-a", Pod: "pod-a", Boot: "boot"}
	other = grant.Incarnation{Member: "pvc-b", Pod: "pod-b", Boot: "boot"}
)

const start = boottime.Instant(1_000_000)

func at(local uint64) epoch.Epoch { return epoch.Epoch{Site: 1, Local: local} }

// rig is an issuer with a clock that stands.
type rig struct {
	*issuer
	t     *testing.T
	clock boottime.Instant
}

func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	r := &rig{t: t, clock: start}
	r.issuer = newIssuer(dir, me, 0, slog.New(slog.DiscardHandler))
	r.now = func() boottime.Instant { return r.clock }
	return r
}

func holding(local uint64, deadline boottime.Instant) lease.View {
	return lease.View{Known: lease.Present, Mine: true, Deadline: deadline, Record: record.Record{Holder: me, Epoch: at(local), Timeline: uint32(local)}}
}

// unchanging is the view of a store that does not change.
func unchanging(v lease.View) func() lease.View { return func() lease.View { return v } }

func primary(local uint64) grant.Grant {
	return grant.Grant{Role: grant.Primary, Epoch: at(local), Timeline: uint32(local), Reason: "holds the record"}
}

func (r *rig) file() grant.Grant {
	r.t.Helper()
	g, err := grant.Read(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

func (r *rig) must(g grant.Grant, v lease.View) {
	r.t.Helper()
	if err := r.issue(g, me, false, epoch.Version{}, unchanging(v)); err != nil {
		r.t.Fatal(err)
	}
}

func TestPrimarysGrantEndsWithTheLease(t *testing.T) {
	r := newRig(t, t.TempDir())
	until := start.Add(5 * time.Second)
	r.must(primary(3), holding(3, until))
	if g := r.file(); g.Deadline != until || g.Seq != 1 || g.Holder != me {
		t.Errorf("got %+v", g)
	}
	r.renewed(holding(3, until.Add(time.Second)))
	if g := r.file(); g.Deadline != until.Add(time.Second) || g.Seq != 1 {
		t.Errorf("renewed: got %+v, want a later deadline under the same number", g)
	}
	r.renewed(holding(3, until.Add(-time.Second)))
	if g := r.file(); g.Deadline != until.Add(-time.Second) {
		t.Errorf("a shorter duration must come through: got %d", g.Deadline)
	}
}

func TestNoGrantToBePrimaryWithoutALeaseInForceInThatEpoch(t *testing.T) {
	for name, v := range map[string]lease.View{
		"none":            {},
		"another_epoch":   holding(4, start.Add(time.Second)),
		"ran_out":         holding(3, start),
		"another_holder":  {Known: lease.Present, Deadline: start.Add(time.Second), Record: record.Record{Holder: other, Epoch: at(3), Timeline: 3}},
		"never_confirmed": holding(3, 0),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, t.TempDir())
			r.must(primary(3), v)
			if g, err := grant.Read(r.dir); err == nil {
				t.Errorf("written: %+v", g)
			}
		})
	}
}

func TestRenewalOfAnotherEpochDoesNotProlongAGrant(t *testing.T) {
	r := newRig(t, t.TempDir())
	until := start.Add(5 * time.Second)
	r.must(primary(3), holding(3, until))
	r.renewed(holding(4, until.Add(time.Hour)))
	if g := r.file(); g.Deadline != until {
		t.Errorf("got %d, want %d", g.Deadline, until)
	}
}

// The judge looks at the lease, then the lease loop learns of another holder, stores that and fences; then comes what the judge has judged.
func TestGrantJudgedByAnOlderViewDoesNotTakeBackAFence(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.must(primary(3), holding(3, start.Add(5*time.Second)))
	stored := lease.View{Known: lease.Present, Record: record.Record{Holder: other, Epoch: at(4), Timeline: 4}}
	r.renewed(stored)
	err := r.issue(primary(3), me, false, epoch.Version{}, func() lease.View {
		if r.mu.TryLock() {
			r.mu.Unlock()
			t.Error("the view is taken without the lock: it may be old by the time that the grant is written")
		}
		return stored
	})
	if err != nil {
		t.Fatal(err)
	}
	if g := r.file(); g.Role != grant.Stop || g.Deadline > start {
		t.Errorf("after the fence: %s until %d", g.Role, g.Deadline)
	}
}

func TestAnotherHolderStopsAtOnceAndAnOutageDoesNot(t *testing.T) {
	r := newRig(t, t.TempDir())
	until := start.Add(5 * time.Second)
	r.must(primary(3), holding(3, until))
	unanswered := holding(3, until)
	unanswered.Problem = "timeout"
	r.renewed(unanswered)
	r.renewed(lease.View{Known: lease.Absent})
	if g := r.file(); g.Role != grant.Primary || g.Deadline != until {
		t.Errorf("outage: got %+v", g)
	}
	r.clock = start.Add(time.Second)
	r.renewed(lease.View{Known: lease.Present, Record: record.Record{Holder: other, Epoch: at(4), Timeline: 4}})
	g := r.file()
	if g.Role != grant.Stop || g.Deadline != r.clock || g.Epoch != at(3) || g.Seq != 2 {
		t.Errorf("lost: got %+v, want a stop of epoch 1.3 that has run out now", g)
	}
	// A fence is not taken back by a late renewal.
	r.clock = start.Add(2 * time.Second)
	r.renewed(holding(3, until.Add(time.Hour)))
	if again := r.file(); !reflect.DeepEqual(again, g) {
		t.Errorf("after a late renewal: got %+v, want %+v", again, g)
	}
}

func TestFenceSaidTwiceIsOneWord(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.must(primary(3), holding(3, start.Add(5*time.Second)))
	stop := grant.Grant{Role: grant.Stop, Epoch: at(3), Timeline: 3, Reason: "may write no longer"}
	for range 3 {
		r.clock = r.clock.Add(time.Second)
		if err := r.issue(stop, me, true, epoch.Version{}, unchanging(lease.View{})); err != nil {
			t.Fatal(err)
		}
	}
	if g := r.file(); g.Seq != 2 || g.Deadline != start.Add(time.Second) {
		t.Errorf("got %+v, want number 2 and the first deadline", g)
	}
}

func TestOrderlyStopIsRenewedWithTheLease(t *testing.T) {
	r := newRig(t, t.TempDir())
	until := start.Add(5 * time.Second)
	r.must(primary(3), holding(3, until))
	r.must(grant.Grant{Role: grant.Stop, Epoch: at(3), Timeline: 3, Reason: "the pod ends"}, holding(3, until))
	r.renewed(holding(3, until.Add(time.Second)))
	if g := r.file(); g.Role != grant.Stop || g.Deadline != until.Add(time.Second) || g.Seq != 2 {
		t.Errorf("got %+v", g)
	}
}

func TestSameWordsAreWrittenOnce(t *testing.T) {
	r := newRig(t, t.TempDir())
	g := grant.Grant{Role: grant.Replica, Reason: "follows", Upstream: &grant.Upstream{Member: "b"}}
	r.must(g, lease.View{})
	before, err := os.Stat(filepath.Join(r.dir, grant.File))
	if err != nil {
		t.Fatal(err)
	}
	again := g
	again.Upstream = &grant.Upstream{Member: "b"}
	r.must(again, lease.View{})
	after, err := os.Stat(filepath.Join(r.dir, grant.File))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("written again: %v", err)
	}
	again.Upstream = &grant.Upstream{Member: "c"}
	r.must(again, lease.View{})
	if got := r.file(); got.Seq != 2 || got.Upstream.Member != "c" {
		t.Errorf("another upstream: got %+v", got)
	}
}

func TestRestartedKeeperAdoptsOnlyItsOwnIncarnationsGrant(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	until := start.Add(5 * time.Second)
	r.must(primary(3), holding(3, until))
	again := newRig(t, dir)
	if p := again.previous(); p == nil || p.Role != grant.Primary || p.Deadline != until || !again.inForce() {
		t.Errorf("same incarnation: got %+v", p)
	}
	again.clock = until
	if again.inForce() {
		t.Error("in force after its end")
	}
	again.must(grant.Grant{Role: grant.Wait, Reason: "x"}, lease.View{})
	if g := again.file(); g.Seq != 2 {
		t.Errorf("sequence: got %d, want 2", g.Seq)
	}
	for name, who := range map[string]grant.Incarnation{"another_pod": {Pod: "pod-z", Boot: "boot"}, "another_boot": {Pod: "pod-a", Boot: "boot-2"}} {
		if p := newIssuer(dir, who, 0, slog.New(slog.DiscardHandler)).previous(); p != nil {
			t.Errorf("%s: adopted %+v", name, p)
		}
	}
	// guard has seen a higher number than the file has: the next one is above it.
	floor := newIssuer(t.TempDir(), me, 41, slog.New(slog.DiscardHandler))
	if err := floor.issue(grant.Grant{Role: grant.Wait, Reason: "x"}, me, false, epoch.Version{}, unchanging(lease.View{})); err != nil || floor.last.Seq != 42 {
		t.Errorf("got number %d, %v, want 42", floor.last.Seq, err)
	}
}

func TestFailedWriteIsTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	r := newRig(t, dir)
	g := grant.Grant{Role: grant.Wait, Reason: "x"}
	if err := r.issue(g, me, false, epoch.Version{}, unchanging(lease.View{})); err == nil {
		t.Fatal("written into a directory that is not there")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.must(g, lease.View{})
	r.file()
}

// A member that has voted and whose keeper was restarted is told to stream by the version that it voted on, which it must not. The same words
// by the word of a newer version are news to it.
func TestStreamByANewerVersionThanTheVotesIsNews(t *testing.T) {
	r := newRig(t, t.TempDir())
	version := func(beat uint64) epoch.Version { return epoch.Version{Epoch: at(3), Beat: beat} }
	follow := func(beat uint64, vote epoch.Version) grant.Grant {
		t.Helper()
		g := grant.Grant{Role: grant.Replica, Epoch: at(3), Reason: "b leads", Upstream: &grant.Upstream{Member: "pvc-b", Host: "b"}, Version: version(beat)}
		if err := r.issue(g, me, false, vote, unchanging(lease.View{})); err != nil {
			t.Fatal(err)
		}
		return r.file()
	}
	first := follow(7, version(7))
	if again := follow(7, version(7)); again.Seq != first.Seq {
		t.Errorf("the same version again: seq %d, want %d", again.Seq, first.Seq)
	}
	newer := follow(8, version(7))
	if newer.Seq == first.Seq || newer.Version != version(8) {
		t.Errorf("a newer version than the vote's: got seq %d version %s, want news of version %s", newer.Seq, newer.Version, version(8))
	}
	if settled := follow(9, epoch.Version{}); settled.Seq != newer.Seq {
		t.Errorf("each renewal is news: seq %d, want %d", settled.Seq, newer.Seq)
	}
}
