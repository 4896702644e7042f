package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

func (p *pod) timeline() string {
	p.t.Helper()
	p.sql("CHECKPOINT")
	return p.sql("SELECT timeline_id FROM pg_control_checkpoint()")
}

func (p *pod) hasSignal() bool {
	_, err := os.Stat(p.data("standby.signal"))
	return err == nil
}

func TestPromotionOpensTheGrantedTimeline(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, major int) {
		p := running(t, major)
		p.sql("CREATE TABLE kept AS SELECT 1 AS n")
		p.orderReplica(nil)
		p.waitRunning(grant.Standby)
		if got := p.sql("SELECT pg_is_in_recovery()"); got != "t" {
			t.Fatalf("recovery is %s", got)
		}
		postmaster := p.postmaster()

		p.orderPrimary(4, 5)
		p.waitRunning(grant.Writable)
		// The control file names a new timeline only after the checkpoint that follows a promotion.
		eventually(t, "the server is on timeline 5", func() bool { return p.timeline() == "5" })
		if p.postmaster() != postmaster {
			t.Errorf("the server was restarted")
		}
		for line, empty := range map[int]bool{2: true, 3: true, 4: true, 5: false} {
			st, err := os.Stat(p.data(fmt.Sprintf("pg_wal/%08X.history", line)))
			if err != nil {
				t.Fatal(err)
			}
			if (st.Size() == 0) != empty {
				t.Errorf("history of timeline %d has %d bytes", line, st.Size())
			}
		}
		note, _, err := notes.ReadMember(p.paths())
		if err != nil {
			t.Fatal(err)
		}
		if want := (epoch.Epoch{Local: 4}); note.Primary != want || note.PrimaryLine != 5 || note.HighestEpoch != want {
			t.Errorf("the volume notes %+v", note)
		}
		if got := p.sql("SELECT n FROM kept"); got != "1" {
			t.Errorf("got %q", got)
		}

		// Killed and started again in the same epoch it is the primary that it was, with no other timeline.
		p.proc.Kill()
		p.start()
		eventually(t, "a server of the new container", func() bool { return p.postmaster() != 0 })
		p.waitRunning(grant.Writable)
		// The control file names a new timeline only after the checkpoint that follows a promotion.
		eventually(t, "after a restart the server is on timeline 5", func() bool { return p.timeline() == "5" })
	})
}

func TestOnlyThePrimaryOfTheSameEpochStartsWithoutStandbySignal(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	if p.hasSignal() {
		t.Error("the first primary has standby.signal")
	}

	p.orderStop()
	p.waitStopped()
	p.orderPrimary(1, 1) // the very epoch it was primary in
	p.waitRunning(grant.Writable)
	// The control file names a new timeline only after the checkpoint that follows a promotion.
	eventually(t, "the restart in the same epoch went to timeline 1", func() bool { return p.timeline() == "1" })

	p.orderStop()
	p.waitStopped()
	p.orderReplica(nil)
	p.wait("starts as a standby", func(s grant.State) bool { return s.Server == grant.Standby })
	if !p.hasSignal() {
		t.Error("a replica was started without standby.signal")
	}
	p.waitRunning(grant.Standby)

	p.orderStop()
	p.waitStopped()
	p.orderPrimary(2, 2) // a winner starts as a standby and is promoted
	p.wait("starts as a standby", func(s grant.State) bool { return s.Server == grant.Standby })
	p.waitRunning(grant.Writable)
	// The control file names a new timeline only after the checkpoint that follows a promotion.
	eventually(t, "the winner is on timeline 2", func() bool { return p.timeline() == "2" })
	if p.hasSignal() {
		t.Error("a primary has standby.signal")
	}
}

func TestPrimaryOfANewEpochIsPromotedAgain(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.orderPrimary(2, 2)
	p.wait("the new reign", func(s grant.State) bool {
		return s.Phase == grant.Running && s.Server == grant.Writable && s.Volume != nil && s.Volume.PrimaryLine == 2
	})
	// The control file names a new timeline only after the checkpoint that follows a promotion.
	eventually(t, "timeline is 2", func() bool { return p.timeline() == "2" })
}

func TestStoppedPrimaryHasAShutdownCheckpointAndAFreeLock(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.load(5)
	p.orderStop()
	s := p.waitStopped()
	p.mu.Lock()
	seq := p.grant.Seq
	p.mu.Unlock()
	if s.Seq == 0 || s.Seq > seq {
		t.Errorf("the state says grant %d, the last one is %d", s.Seq, seq)
	}
	if got := p.control("Database cluster state"); got != "shut down" {
		t.Errorf("the cluster is %q", got)
	}
	if n := len(p.servers()); n != 0 {
		t.Errorf("%d server processes run", n)
	}
	time.Sleep(time.Second)
	if n := len(p.servers()); n != 0 {
		t.Errorf("%d server processes run a second later", n)
	}
}

// A shutdown can take longer than a grant. keeper gives it time by renewing the stop.
func TestRenewedStopLetsASlowShutdownFinish(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	checkpointer := p.titled("checkpointer")
	p.signal(checkpointer, syscall.SIGSTOP)
	p.order(func(g *grant.Grant) { g.Role, g.Reason, p.renewStop = grant.Stop, "hands over", true })
	time.Sleep(fenceAfter + time.Second)
	if len(p.servers()) == 0 {
		t.Fatal("the server was killed although the stop was renewed")
	}
	p.signal(checkpointer, syscall.SIGCONT)
	p.waitStopped()
	if got := p.control("Database cluster state"); got != "shut down" {
		t.Errorf("the cluster is %q", got)
	}
}

// The grant must have half its time left: a promotion cannot be taken back.
func TestStaleGrantDoesNotPromote(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.orderReplica(nil)
	p.waitRunning(grant.Standby)
	p.freeze()
	p.proc.Signal(t, syscall.SIGSTOP)
	p.orderPrimary(2, 2)
	time.Sleep(fenceAfter*2/3 + 100*time.Millisecond)
	p.proc.Signal(t, syscall.SIGCONT)
	p.wait("says why", func(s grant.State) bool { return strings.Contains(s.Reason, "is not promoted") })
	time.Sleep(fenceAfter)
	if got := p.sql("SELECT pg_is_in_recovery()"); got != "t" {
		t.Error("a stale grant has promoted the server")
	}
	p.thaw()
	p.waitRunning(grant.Writable)
}

func TestReplicaFollowsAnotherUpstreamWithoutARestart(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.orderReplica(nil)
	p.waitRunning(grant.Standby)
	postmaster := p.postmaster()
	for _, host := range []string{"db-7.db-members.default.svc.cluster.local", "db-8.db-members.default.svc.cluster.local"} {
		p.orderReplica(&grant.Upstream{Member: "m", Name: "db", Host: host, Address: "127.0.0.1", Port: 1})
		eventually(t, "the server knows the upstream", func() bool {
			got, err := p.trySQL("SHOW primary_conninfo")
			return err == nil && strings.Contains(got, host)
		})
	}
	newer := epoch.Epoch{Site: 1, Local: 2}
	p.order(func(g *grant.Grant) { g.Epoch = newer })
	eventually(t, "the volume notes the newer epoch", func() bool {
		note, _, err := notes.ReadMember(p.paths())
		return err == nil && note.HighestEpoch == newer
	})
	p.orderReplica(nil) // a vote: the receiver goes
	eventually(t, "the server has let go", func() bool { got, err := p.trySQL("SHOW primary_conninfo"); return err == nil && got == "" })
	if p.postmaster() != postmaster {
		t.Error("the server was restarted")
	}
}

func TestReplicaIsClonedAndStreams(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, major int) {
		root := pgtest.OpenRoot(t, major)
		p := newPod(t, root, "db-0", root.TempDir(t))
		p.bootstrap()
		p.sql("CREATE ROLE pgspan_replication LOGIN REPLICATION; CREATE TABLE kept AS SELECT 1 AS n; SELECT pg_create_physical_replication_slot('db_1', true)")
		r := newPod(t, root, "db-1", root.TempDir(t))
		r.copyCertificates(p)
		r.order(func(g *grant.Grant) {
			g.Role, g.MayClone, g.Epoch, g.Timeline, g.SystemID, g.Reason = grant.Replica, true, p.grant.Epoch, 1, p.grant.SystemID, "follows"
			g.Upstream = &grant.Upstream{Member: p.member, Name: "db-0", Host: "db-rw.default.svc.cluster.local", Address: "127.0.0.1", Port: p.port}
			g.Slot, g.SyncName = "db_1", "db-1"
		})
		r.start()
		r.waitRunning(grant.Standby)
		eventually(t, "the replica streams", func() bool {
			got, err := p.trySQL("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = 'db-1'")
			return err == nil && got == "1"
		})
		p.sql("INSERT INTO kept VALUES (2)")
		eventually(t, "the row arrives", func() bool { got, err := r.trySQL("SELECT count(*) FROM kept"); return err == nil && got == "2" })
	})
}

// SAFETY rule 8 and D1: from the vote on, nothing the old leader does reaches this member, until the record was written again.
func TestVoteCutsTheStreamUntilTheRecordIsWrittenAgain(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-0", root.TempDir(t))
	p.bootstrap()
	p.sql("CREATE ROLE pgspan_replication LOGIN REPLICATION; CREATE TABLE kept AS SELECT 1 AS n; SELECT pg_create_physical_replication_slot('db_1', true)")
	r := newPod(t, root, "db-1", root.TempDir(t))
	r.copyCertificates(p)
	follow := func(beat uint64) func(*grant.Grant) {
		return func(g *grant.Grant) {
			g.Role, g.MayClone, g.Epoch, g.Timeline, g.SystemID, g.Reason = grant.Replica, true, p.grant.Epoch, 1, p.grant.SystemID, "follows"
			g.Upstream = &grant.Upstream{Member: p.member, Name: "db-0", Host: "db-rw.default.svc.cluster.local", Address: "127.0.0.1", Port: p.port}
			g.Slot, g.SyncName, g.Vote, g.Version = "db_1", "db-1", false, epoch.Version{Epoch: p.grant.Epoch, Beat: beat}
		}
	}
	streams := func() bool {
		got, err := p.trySQL("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = 'db-1'")
		return err == nil && got == "1"
	}
	r.order(follow(7))
	r.start()
	r.waitRunning(grant.Standby)
	eventually(t, "the replica streams", streams)

	vote := epoch.Version{Epoch: p.grant.Epoch, Beat: 9}
	r.order(func(g *grant.Grant) { g.Vote, g.Version, g.Upstream, g.Slot, g.SyncName = true, vote, nil, "", "" })
	r.wait("reports the vote", func(s grant.State) bool { return s.Vote == vote })
	if note, _, err := notes.ReadMember(r.paths()); err != nil || note.Vote != vote {
		t.Errorf("the volume notes %v (%v), want %v", note.Vote, err, vote)
	}
	eventually(t, "the stream has ended", func() bool {
		got, err := r.trySQL("SELECT count(*) FROM pg_stat_wal_receiver")
		return err == nil && got == "0"
	})
	r.order(follow(9)) // a keeper that has not seen more than what was voted on
	seen := r.wait("lives", func(grant.State) bool { return true }).Seq
	r.wait("has read the grant", func(s grant.State) bool { return s.Seq > seen })
	p.sql("INSERT INTO kept VALUES (2)")
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		if streams() {
			t.Fatal("the member streams by the word of the record that it has voted on")
		}
	}
	r.proc.Signal(t, syscall.SIGKILL) // what binds it is on the volume
	r.proc.Wait(t, 10*time.Second)
	killed := boottime.Now()
	r.start()
	r.wait("runs again", func(s grant.State) bool { return s.Beat > killed && s.Phase == grant.Running })
	eventually(t, "it streams from nobody after a restart", func() bool { got, err := r.trySQL("SHOW primary_conninfo"); return err == nil && got == "" })
	r.order(follow(10))
	eventually(t, "the replica streams again", streams)
	eventually(t, "the row arrives", func() bool { got, err := r.trySQL("SELECT count(*) FROM kept"); return err == nil && got == "2" })
	r.wait("reports no vote while it streams", func(s grant.State) bool { return s.Vote.IsZero() })
}

// A promotion that was killed after it had written its history has used its number up.
func TestTimelineThatWasBegunIsNotTakenAgain(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.orderReplica(nil)
	p.waitRunning(grant.Standby)
	at := p.sql("SELECT pg_last_wal_replay_lsn()")
	p.WriteFile(t, p.volume+"/pgdata/pg_wal/00000002.history", fmt.Appendf(nil, "1\t%s\tno recovery target specified\n", at), 0o600)
	p.orderPrimary(2, 2)
	p.wait("says why", func(s grant.State) bool {
		return s.Server == grant.Standby && strings.Contains(s.Reason, "timeline 2 is used up")
	})
	if got := p.sql("SELECT pg_is_in_recovery()"); got != "t" {
		t.Error("the server was promoted")
	}
	p.orderPrimary(3, 3)
	p.waitRunning(grant.Writable)
	// The control file names a new timeline only after the checkpoint that follows a promotion.
	eventually(t, "timeline is 3", func() bool { return p.timeline() == "3" })
}

// From the promote request on the server is a primary, whether or not it has opened yet: a promotion cannot be taken back.
func TestPromotionThatHangsIsFencedLikeAPrimary(t *testing.T) {
	p := running(t, 17)
	p.orderReplica(nil)
	p.waitRunning(grant.Standby)
	p.signal(p.titled("startup"), syscall.SIGSTOP) // as if it had to replay for long
	p.orderPrimary(2, 2)
	p.wait("is told to promote", func(s grant.State) bool { return s.Server == grant.Promoting })
	deadline := p.freeze()
	if late := p.dead().Sub(deadline); late < 0 || late > stopBudget {
		t.Errorf("dead %v after the end of the grant, want 0 to %v", late, stopBudget)
	}
	p.waitStopped()

	// It never opened, so under the next grant it is a standby again, and promoted once more.
	if p.control("Latest checkpoint's TimeLineID") != "1" {
		t.Error("the server had opened: the test shows nothing")
	}
	p.thaw()
	p.waitRunning(grant.Writable)
	// The control file names a new timeline only after the checkpoint that follows a promotion.
	eventually(t, "timeline is 2", func() bool { return p.timeline() == "2" })
}
