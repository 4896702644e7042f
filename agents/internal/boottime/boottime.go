// Package boottime reads the clock that grants are measured on: CLOCK_BOOTTIME, which no one can set and which goes on while the
// machine sleeps. It is never compared between machines, and only within one boot (the boot id says which).
package boottime

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Instant is a reading of CLOCK_BOOTTIME in nanoseconds. The zero value means "never".
type Instant int64

// Now reads the clock. clock_gettime(2) cannot fail for a clock the kernel knows; if it does all the same, nothing that depends on
// time is safe, so it panics rather than returning a time that never advances.
func Now() Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("read CLOCK_BOOTTIME: %v", err))
	}
	return Instant(ts.Nano())
}

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Before reports whether i is earlier than j.
func (i Instant) Before(j Instant) bool { return i < j }

// BootID identifies the present boot of the kernel; an instant of another boot means nothing.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
