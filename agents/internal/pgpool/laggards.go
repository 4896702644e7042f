package pgpool

import (
	"syscall"
	"time"
)

const (
	// nudgeEvery bounds for how long a child that has become free may still ask for an old password.
	nudgeEvery = 100 * time.Millisecond
	// remind is after how many looks a free child is told again: the signal of before may have met it in a session.
	remind = 10
)

// laggards are the children of pgpool that have not opened the new password file since a reload. A child reads its passwords again when
// it takes the next client, but if it has one at the time of the reload it forgets to (seen in 4.6 and 4.7), so it is told again once it
// is free.
type laggards struct {
	looks int
	free  map[int]bool // by process: was it without a client at the last look
}

func newLaggards(pgpool int) laggards {
	l := laggards{free: map[int]bool{}}
	for _, s := range sessionsOf(pgpool) {
		if !s.auxiliary() {
			l.free[s.pid] = false
		}
	}
	return l
}

// nudge looks at those that are left and tells the free ones to reload.
func (l *laggards) nudge(passwd string) {
	l.looks++
	for pid, wasFree := range l.free {
		s, ok := sessionIn(pid)
		free := s.waiting()
		if ok && (free == wasFree || !free) && l.looks%remind != 0 {
			l.free[pid] = free
			continue
		}
		if !ok || !holdsOld(pid, passwd) {
			delete(l.free, pid)
			continue
		}
		if free {
			_ = syscall.Kill(pid, syscall.SIGHUP) // ESRCH: it has ended, and the next one reads the file
		}
		l.free[pid] = free
	}
}
