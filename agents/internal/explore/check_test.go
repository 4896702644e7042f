package explore

import (
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/guarding"
)

// facts is what an observer who sees everything keeps.
type facts struct {
	ids       int
	acks      int
	commits   []commit // acknowledged ones
	reigns    map[uint32]guarding.Reign
	newest    epoch.Epoch // in which a write was acknowledged
	newestBy  int
	leader    *server // the one that opened last, by epoch
	leaderOf  epoch.Epoch
	excused   int
	elections int
	handovers int
	givenUp   int
	// unpromised are acknowledgements that waited for nobody.
	unpromised int
	zombies    int // acknowledgements by a server that had been frozen with its guard
	violation  string
	seen       map[uint64]struct{}
}

type commit struct {
	at  int // position after it
	sum uint64
}

func (s *sim) violate(format string, args ...any) {
	if s.facts.violation == "" {
		s.facts.violation = fmt.Sprintf("%.3f s: ", s.now.Seconds()) + fmt.Sprintf(format, args...)
		s.note("VIOLATION %s", s.facts.violation)
	}
}

// opened: timelines are unique, and in synchronous mode nothing acknowledged is missing.
func (s *sim) opened(sv *server) {
	f := &s.facts
	line := sv.h.volume.wal.line()
	if old, known := f.reigns[line]; known && old != sv.reign {
		s.violate("timeline %d belongs to %s (%s) and to %s (%s)", line, old, old.Name, sv.reign, sv.reign.Name)
	}
	f.reigns[line] = sv.reign
	if line != sv.reign.Timeline {
		s.violate("member %d opens on timeline %d, granted is %s", sv.h.id, line, sv.reign)
	}
	s.note("member %d opens in %s at %d", sv.h.id, sv.reign, len(sv.h.volume.wal))
	f.elections++
	if sv.reign.Epoch.Compare(f.leaderOf) <= 0 && f.leader != nil {
		return
	}
	f.leader, f.leaderOf = sv, sv.reign.Epoch
	if !s.sync {
		return
	}
	for _, c := range f.commits {
		s.mustHold(sv, c)
	}
}

func (s *sim) mustHold(sv *server, c commit) {
	if w := sv.h.volume.wal; len(w) < c.at || w[c.at-1].sum != c.sum {
		s.violate("an acknowledged write at %d is lost: member %d leads %s without it", c.at, sv.h.id, sv.reign)
	}
}

// acknowledged: at most one member acknowledges at a time.
func (s *sim) acknowledged(sv *server, at int) {
	f := &s.facts
	c := commit{at, sv.h.volume.wal[at-1].sum}
	f.acks++
	excused := s.now < sv.h.zombieUntil
	if excused {
		f.zombies++
	}
	if r := f.reigns[sv.h.volume.wal[at-1].line]; r != sv.reign && !r.IsZero() && sv.h.volume.wal[at-1].line == sv.h.volume.wal.line() {
		s.violate("member %d writes in %s on the timeline of %s", sv.h.id, sv.reign, r)
	}
	switch order := sv.reign.Epoch.Compare(f.newest); {
	case order > 0:
		f.newest, f.newestBy = sv.reign.Epoch, sv.h.id
	case order == 0 && f.newestBy == sv.h.id:
	case excused:
		f.excused++
	default:
		s.violate("member %d acknowledges in %s after member %d did in epoch %s", sv.h.id, sv.reign, f.newestBy, f.newest)
	}
	if s.sync && sv.sync.K == 0 {
		f.unpromised++ // the mode `any` waits for as many as there are
	} else if s.sync {
		f.commits = append(f.commits, c)
		if f.leader != nil && f.leader != sv && f.leaderOf.Compare(sv.reign.Epoch) > 0 {
			s.mustHold(f.leader, c)
		}
	}
}
