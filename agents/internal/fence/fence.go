// Package fence ends a primary whose grant has run out, whatever else guard is doing (SAFETY rule 5). One goroutine on a thread of
// its own sleeps until the deadline, by a timer of the kernel's on CLOCK_BOOTTIME, and compares that clock with a deadline that others
// may only read and move through atomics; whoever brings the end nearer wakes it. It looks at the clock four times a second besides. It
// takes no lock, allocates nothing, touches no volume and asks nobody: a full disk, a hung volume or a busy garbage collector cannot keep
// it from sending its signals.
//
// At the deadline the postmaster gets SIGQUIT (immediate shutdown). Half a second later, and at every tick from then on, every process
// of the container but guard gets SIGKILL, until somebody has proven the server dead by the volume's lock and says so with Disarm. A
// fence that has fired cannot be taken back by a new grant.
package fence

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
)

const (
	// Look is the longest time between two looks at the clock. Nothing waits for it: it is the beat that shows the watch to be alive.
	Look = 250 * time.Millisecond
	// Tick is how often everything is killed once the fence has fired, and the longest time between two looks where the kernel gives no
	// timer that can be woken.
	Tick = 50 * time.Millisecond
	// Patience is how long the postmaster has to end its backends before everything is killed.
	Patience = 500 * time.Millisecond
)

// Deadlines that have always passed. The second one also means that there is no postmaster left to be patient with.
const (
	atOnce    = boottime.Instant(1)
	impatient = boottime.Instant(2)
)

// Signals is how a fence reaches the server.
type Signals interface {
	// Quit sends SIGQUIT to the postmaster.
	Quit(pid int)
	// KillAll sends SIGKILL to every process of the container but the caller.
	KillAll()
}

// Fence watches one deadline. The zero deadline means that there is nothing to fence: no server, or a standby.
//
// Arm, Target, Fire, Kill and Disarm belong to the one goroutine that runs the server; Extend and the questions to everybody.
type Fence struct {
	signals Signals
	now     func() boottime.Instant

	deadline atomic.Int64 // boottime.Instant; 0: nothing to fence; atOnce: now
	pid      atomic.Int64 // the postmaster's; 0: not known
	beat     atomic.Int64 // last look at the clock

	// Only the watching goroutine writes these, so that no signal can be sent on behalf of a fence that was disarmed.
	fired    atomic.Int64 // when the fence fired; 0: it has not
	killed   atomic.Bool  // KillAll was called at least once since
	asked    atomic.Int64 // the postmaster that got SIGQUIT; 0: none was known
	disarm   atomic.Bool  // asks the watching goroutine to forget it all
	disarmed chan struct{}
	alarm    chan struct{}
	kills    chan struct{}

	sleeper *sleeper // nil where the kernel gives none
}

// New makes a fence with no deadline. Nothing is watched before Watch runs.
func New(s Signals) *Fence {
	f := &Fence{signals: s, now: boottime.Now, disarmed: make(chan struct{}, 1), alarm: make(chan struct{}, 1), kills: make(chan struct{}, 1)}
	f.sleeper, _ = newSleeper() // without one the clock is looked at each Tick
	return f
}

// Watch looks at the clock until ctx ends. It keeps its thread to itself: run it in a goroutine of its own.
func (f *Fence) Watch(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer context.AfterFunc(ctx, f.wake)()
	for ctx.Err() == nil {
		now := f.now()
		f.sleep(now, f.step(now))
	}
}

// sleep returns d after now, or when somebody has moved the end nearer since the step: the bell keeps what was rung in between.
func (f *Fence) sleep(now boottime.Instant, d time.Duration) {
	if f.sleeper == nil {
		nap(min(d, Tick))
		return
	}
	f.sleeper.until(now.Add(d))
}

// wake lets the watching goroutine look at once.
func (f *Fence) wake() {
	if f.sleeper != nil {
		f.sleeper.wake()
	}
}

// step does what is due at now and returns how long nothing will be.
func (f *Fence) step(now boottime.Instant) time.Duration {
	f.beat.Store(int64(now))
	if f.disarm.Load() {
		f.reset()
		return Look
	}
	if fired := boottime.Instant(f.fired.Load()); fired != 0 {
		if now.Sub(fired) >= Patience || f.pid.Load() != f.asked.Load() {
			f.killAll()
		}
		return Tick
	}
	deadline := boottime.Instant(f.deadline.Load())
	if deadline == 0 {
		return Look
	}
	if now.Before(deadline) {
		return min(Look, deadline.Sub(now))
	}
	f.fired.Store(int64(now))
	if deadline == impatient {
		f.killAll()
	}
	// A pid of 0 would address guard's own process group. The server is being started then, and KillAll will find it.
	pid := f.pid.Load()
	if f.asked.Store(pid); pid > 1 {
		f.signals.Quit(int(pid))
	}
	select {
	case f.alarm <- struct{}{}:
	default:
	}
	return Tick
}

func (f *Fence) killAll() {
	f.signals.KillAll()
	f.killed.Store(true)
	select {
	case f.kills <- struct{}{}:
	default:
	}
}

func (f *Fence) reset() {
	f.deadline.Store(0)
	f.pid.Store(0)
	f.fired.Store(0)
	f.killed.Store(false)
	f.asked.Store(0)
	select {
	case <-f.alarm: // of a fence that is over
	default:
	}
	f.disarm.Store(false)
	f.disarmed <- struct{}{}
}

// Arm sets the deadline before a server is started as a primary, or told to become one.
func (f *Fence) Arm(deadline boottime.Instant) { f.end(max(deadline, atOnce)) }

func (f *Fence) end(at boottime.Instant) {
	f.deadline.Store(int64(at))
	f.wake()
}

// Target names the postmaster that is to get SIGQUIT. It may come after Arm, and even after the fence has fired: a server that was forked
// since then, or whose time has passed meanwhile, was not asked to end, and is killed at once.
func (f *Fence) Target(pid int) {
	f.pid.Store(int64(pid))
	f.wake()
}

// Extend moves the deadline of an armed fence, to an earlier time too: the newest word counts. It reports false, and changes nothing,
// when there is nothing to fence or the deadline has passed already: a grant that comes too late is as good as none.
func (f *Fence) Extend(deadline boottime.Instant) bool {
	for {
		old := f.deadline.Load()
		if old == 0 || !f.now().Before(boottime.Instant(old)) || f.fired.Load() != 0 {
			return false
		}
		if f.deadline.CompareAndSwap(old, int64(max(deadline, atOnce))) {
			if deadline.Before(boottime.Instant(old)) {
				f.wake()
			}
			return true
		}
	}
}

// Fire lets the fence fire now, whatever the deadline, and whether or not it was armed.
func (f *Fence) Fire() { f.end(atOnce) }

// Kill is Fire for a server whose postmaster is gone: nobody would pass a SIGQUIT on, so SIGKILL comes first.
func (f *Fence) Kill() { f.end(impatient) }

// Disarm forgets deadline, postmaster and whatever has fired, after the server was proven stopped. It returns the time since the fence
// fired (0 if it has not) when the watching goroutine has done so.
func (f *Fence) Disarm(ctx context.Context) (time.Duration, error) {
	var since time.Duration
	if fired := boottime.Instant(f.fired.Load()); fired != 0 {
		since = f.now().Sub(fired)
	}
	f.disarm.Store(true)
	f.wake()
	select {
	case <-f.disarmed:
		return since, nil
	case <-ctx.Done():
		return since, ctx.Err()
	}
}

// Deadline is when the fence will fire; 0 when there is nothing to fence.
func (f *Fence) Deadline() boottime.Instant { return boottime.Instant(f.deadline.Load()) }

// Fired reports whether the fence has fired and nobody has proven the server dead since.
func (f *Fence) Fired() bool { return f.fired.Load() != 0 }

// KilledAll reports whether SIGKILL was sent to every process since the fence fired.
func (f *Fence) KilledAll() bool { return f.killed.Load() }

// Alarm receives one value when the fence fires.
func (f *Fence) Alarm() <-chan struct{} { return f.alarm }

// Kills receives a value when everything was killed, and another one at the next tick, as long as it is taken.
func (f *Fence) Kills() <-chan struct{} { return f.kills }

// Age is the time since the watching goroutine last looked at the clock.
func (f *Fence) Age() time.Duration { return f.now().Sub(boottime.Instant(f.beat.Load())) }
