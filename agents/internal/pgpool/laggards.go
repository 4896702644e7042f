package pgpool

import (
	"syscall"
	"time"
)

const (
	// nudgeEvery bounds for how long a child that has become free may still ask for an old password.
	nudgeEvery = 100 * time.Millisecond
	// remind is after how many looks a free child is told again: the signal of before may have reached it in a session after all.
	remind = 10
)

// laggards are the children of pgpool that have not opened the new password file. Told by SIGHUP, a child opens it when it takes its next
// client, but one that has a client when it is told forgets to (seen in 4.6 and 4.7). So the children are told one by one, each when it
// is free, and pgpool itself is not: it would tell all of them at once.
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
