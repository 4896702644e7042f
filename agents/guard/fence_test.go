package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/fence"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
)

// stopBudget is what a stop may take on a machine with two busy cores: a tick, the patience with SIGQUIT, and the kernel's own time to
// take down some sixty processes.
const stopBudget = fence.Tick + fence.Patience + 1500*time.Millisecond

// load is clients that write until the server is gone, and one backend that only computes.
type load struct {
	last atomic.Int64 // boot time of the last acknowledged commit
	done sync.WaitGroup
}

func (p *pod) load(clients int) *load {
	p.t.Helper()
	p.sql("CREATE TABLE IF NOT EXISTS acknowledged (id bigserial PRIMARY KEY, at bigint)")
	l := &load{}
	ctx, where := p.t.Context(), p.socketURL()
	var connected sync.WaitGroup
	connected.Add(clients + 1)
	for range clients {
		l.done.Go(func() {
			conn, err := pgx.Connect(ctx, where)
			connected.Done()
			if err != nil {
				p.t.Errorf("client: %v", err)
				return
			}
			defer conn.Close(context.WithoutCancel(ctx))
			for {
				if _, err := conn.Exec(ctx, "INSERT INTO acknowledged (at) VALUES ($1)", int64(boottime.Now())); err != nil {
					return // the server is gone
				}
				l.last.Store(int64(boottime.Now()))
			}
		})
	}
	l.done.Go(func() {
		conn, err := pgx.Connect(ctx, where)
		connected.Done()
		if err != nil {
			p.t.Errorf("busy client: %v", err)
			return
		}
		defer conn.Close(context.WithoutCancel(ctx))
		_, _ = conn.Exec(ctx, "DO 'BEGIN LOOP END LOOP; END'") // ends with the server
	})
	connected.Wait()
	eventually(p.t, "writes are acknowledged", func() bool { return l.last.Load() != 0 })
	return l
}

// dead waits until no server process is left and says when that was.
func (p *pod) dead() boottime.Instant {
	p.t.Helper()
	eventually(p.t, "every server process is dead", func() bool { return len(p.servers()) == 0 })
	return boottime.Now()
}

func TestGrantThatRunsOutKillsABusyPrimary(t *testing.T) {
	eachMajorAlone(t, func(t *testing.T, major int) {
		p := running(t, major)
		load := p.load(50)

		deadline := p.freeze()
		if left := deadline.Sub(boottime.Now()); left < fenceAfter-time.Second {
			t.Fatalf("the last grant has only %v left: the test is too slow", left)
		}
		time.Sleep(deadline.Sub(boottime.Now()) - 500*time.Millisecond)
		died := p.dead() // a kill before the end is seen half a second before it
		load.done.Wait()
		if late := died.Sub(deadline); late < 0 || late > stopBudget {
			t.Errorf("dead %v after the end of the grant, want 0 to %v", late, stopBudget)
		} else {
			t.Logf("dead %v after the end of the grant, last acknowledgement %v after it", late, boottime.Instant(load.last.Load()).Sub(deadline))
		}
		s := p.waitStopped()
		if s.StopSeconds <= 0 || s.StopSeconds > stopBudget.Seconds() {
			t.Errorf("measured stop time is %v s", s.StopSeconds)
		}
		if free, holder, err := volumelock.Free(p.paths().Lock()); !free || err != nil {
			t.Errorf("stopped is reported and the lock is held by %v (error %v)", holder, err)
		}

		// Nothing but a new word of keeper brings the server back, and then as the primary it was: same epoch, same timeline.
		time.Sleep(2 * time.Second)
		if n := len(p.servers()); n != 0 {
			t.Errorf("%d server processes run under a grant that has run out", n)
		}
		p.thaw()
		p.waitRunning(grant.Writable)
		if got := p.sql("SELECT timeline_id, pg_is_in_recovery() FROM pg_control_checkpoint()"); got != "1|f" {
			t.Errorf("after the thaw timeline and recovery are %s, want 1|f", got)
		}
	})
}

func TestFrozenServerIsKilledByTheSecondSignal(t *testing.T) {
	p := running(t, 17)
	for _, proc := range p.servers() {
		p.signal(proc.pid, syscall.SIGSTOP) // none of them will see SIGQUIT
	}
	deadline := p.freeze()
	died := p.dead()
	if late := died.Sub(deadline); late < fence.Patience || late > stopBudget {
		t.Errorf("dead %v after the end of the grant, want %v to %v", late, fence.Patience, stopBudget)
	}
	if s := p.waitStopped(); !s.KilledAll || s.StopSeconds < fence.Patience.Seconds() {
		t.Errorf("killed all is %v and the stop time %v s", s.KilledAll, s.StopSeconds)
	}
}

func TestGrantThatIsNotUnderstoodDoesNotProlong(t *testing.T) {
	p := running(t, 17)
	deadline := p.freeze()
	p.WriteFile(t, p.at("control/grant"), []byte(`{"format":2,"seq":99999,"role":"primary","deadline":9223372036854775807}`), 0o600)
	if late := p.dead().Sub(deadline); late < 0 || late > stopBudget {
		t.Errorf("dead %v after the end of the old grant", late)
	}
	p.waitStopped()
}

func TestStandbyOutlivesItsKeeper(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.orderReplica(nil)
	p.waitRunning(grant.Standby)
	p.freeze()
	time.Sleep(2 * fenceAfter)
	if got := p.sql("SELECT pg_is_in_recovery()"); got != "t" {
		t.Errorf("recovery is %s", got)
	}
}

func TestLockIsHeldUntilTheLastBackendIsGone(t *testing.T) {
	eachMajorAlone(t, func(t *testing.T, major int) {
		p := running(t, major)
		load := p.load(3)
		postmaster := p.postmaster()
		for _, proc := range p.servers() {
			if !holds(proc.pid, p.paths().Lock()) {
				t.Errorf("process %d (child of %d) has not inherited the lock", proc.pid, proc.ppid)
			}
		}
		old := p.servers()
		p.signal(postmaster, syscall.SIGKILL)
		// The lock says "held" for as long as one of the old processes lives, and there is no new server before.
		for looks, end := 0, time.Now().Add(patience); ; looks++ {
			now := p.postmaster()
			free, _, err := volumelock.Free(p.paths().Lock())
			if err != nil {
				t.Fatal(err)
			}
			living := slices.DeleteFunc(p.servers(), func(s process) bool { return !slices.ContainsFunc(old, func(o process) bool { return o.pid == s.pid }) })
			if len(living) == 0 {
				if looks == 0 {
					t.Errorf("nothing outlived the postmaster: the test shows nothing")
				}
				break
			}
			if alive := slices.DeleteFunc(slices.Clone(living), func(s process) bool { return exiting(s.pid) }); free && len(alive) > 0 {
				t.Fatalf("the lock is free and %v still run", alive)
			}
			if time.Now().After(end) {
				t.Fatalf("not within %v: the old processes are gone; there are %v", patience, living)
			}
			if now != 0 && now != postmaster {
				t.Fatalf("a new server %d runs beside %v", now, living)
			}
		}
		load.done.Wait()
		eventually(t, "a new server runs", func() bool { return p.postmaster() != 0 && p.postmaster() != postmaster })
		p.waitRunning(grant.Writable)
	})
}

// exiting reports whether a process has come so far in its end that the kernel has taken its memory, which is before its files are closed, and
// with the last of them the lock. It runs no code any more (kernel/exit.c, do_exit).
func exiting(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err != nil || len(b) == 0
}

// guard is held still meanwhile: otherwise it is a matter of luck whether the server comes as far as writing before it is killed.
func TestStandbyThatWasOpenedByHandIsKilledAndStaysDown(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.orderReplica(nil)
	p.waitRunning(grant.Standby)
	p.signal(p.proc.PID, syscall.SIGSTOP)
	p.sql("SELECT pg_promote(); CREATE TABLE written_by_the_second_writer ()")
	p.signal(p.proc.PID, syscall.SIGCONT)
	p.wait("the second writer is killed", func(s grant.State) bool { return s.Server == grant.Down })
	p.dead()
	// Its timeline is one that nobody granted, so the plan does not start it again.
	p.wait("the plan refuses", func(s grant.State) bool { return s.Phase == grant.Refused })
	if n := len(p.servers()); n != 0 {
		t.Errorf("%d server processes run", n)
	}
}

// A promotion by hand that was cut short before its timeline began has written nothing: the volume is still a replica's.
func TestStandbyWithoutItsSignalIsKilledAndIsAStandbyAgain(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.orderReplica(nil)
	p.waitRunning(grant.Standby)
	first := p.postmaster()
	if err := os.Remove(p.data("standby.signal")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is killed", func() bool { return p.postmaster() != first })
	eventually(t, "another runs", func() bool { return p.postmaster() != 0 })
	p.waitRunning(grant.Standby)
	if got := p.sql("SELECT pg_is_in_recovery()"); got != "t" {
		t.Errorf("recovery is %s", got)
	}
	if !p.hasSignal() {
		t.Error("a replica was started without standby.signal")
	}
}
