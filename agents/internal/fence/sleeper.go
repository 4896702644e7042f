package fence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgspan/pgspan/agents/internal/boottime"
)

// sleeper lets one thread sleep until an instant of CLOCK_BOOTTIME, or until somebody rings.
//
// The timer is the kernel's own on that clock: where a machine slept past the instant, it is over at the moment of waking up. A timeout of
// poll(2), or a timer of Go's, would wait for the rest of its time then.
type sleeper struct {
	timer, bell *os.File // closed when nobody refers to them any more: a ring must never reach another file of the same number
	wait        [2]unix.PollFd
	spec        unix.ItimerSpec
	longest     unix.Timespec
	rung        [8]byte
}

// ring is what an event counter takes: a number of eight bytes, in the machine's order. It is one, so that no number of rings that nobody
// hears fills the counter.
var ring = binary.NativeEndian.AppendUint64(nil, 1)

func newSleeper() (*sleeper, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer on the boot clock: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make an event counter: %w", err), unix.Close(timer))
	}
	return &sleeper{
		timer: os.NewFile(uintptr(timer), "timer"), bell: os.NewFile(uintptr(bell), "bell"),
		wait: [2]unix.PollFd{{Fd: int32(timer), Events: unix.POLLIN}, {Fd: int32(bell), Events: unix.POLLIN}},
	}, nil
}

// until sleeps until at, or less, and twice the time between two looks at most, whatever becomes of the timer. Being woken early by a
// signal does no harm.
func (s *sleeper) until(at boottime.Instant) {
	s.spec.Value = unix.NsecToTimespec(int64(max(at, 1))) // 0 would stop the timer
	s.longest = unix.NsecToTimespec(int64(2 * Look))
	if err := unix.TimerfdSettime(int(s.wait[0].Fd), unix.TFD_TIMER_ABSTIME, &s.spec, nil); err != nil {
		nap(Tick)
		return
	}
	n, err := unix.Ppoll(s.wait[:], &s.longest, nil)
	switch {
	case err != nil && err != unix.EINTR:
		nap(Tick)
	case n > 0 && s.wait[1].Revents != 0:
		_, _ = unix.Read(int(s.wait[1].Fd), s.rung[:]) // it has something to read, else it is rung again
	}
}

// wake ends the present sleep, or the next one. Anybody may call it.
func (s *sleeper) wake() {
	_, _ = s.bell.Write(ring) // fails for a closed file only, which this is not
}

// nap needs nothing but the clock that deadlines are on.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.ClockNanosleep(unix.CLOCK_BOOTTIME, 0, &ts, nil) // EINTR
}
