// Package explore holds no code. Its test explores the protocol: the very decisions of keeper and guard (judge, lease, guarding, plan) on
// three members, over a model of a store, a network and PostgreSQL, through schedules of delays, losses, crashes, restarts, freezes and
// outages that a person would not think of. README.md says what is modelled and what is not.
package explore

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pgspan/pgspan/agents/internal/quorum"
)

// moment is true time, which nobody in the model can read.
type moment = time.Duration

// sim is one run. Nothing in it depends on anything but the choices.
type sim struct {
	*chooser
	now    moment
	queue  events
	seq    int
	broken broken
	sync   bool
	demand quorum.Facts // in synchronous mode: what is asked for
	store  store
	net    network
	hosts  []*host
	facts  facts
	trace  []string
	traced bool
}

// process is one that can be killed, frozen and thawed. What is due while it is frozen happens after the thaw, in any order.
type process struct {
	s      *sim
	rate   float64 // of its clock
	life   int
	alive  bool
	frozen bool
	holds  int // how many freeze it
	late   []func()
}

type event struct {
	at   moment
	seq  int
	of   *process // nil: the network, the store, the world
	life int
	do   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// after lets do happen d from now, by the world's clock or that of p, unless p has ended by then.
func (s *sim) after(d time.Duration, p *process, do func()) {
	life := 0
	if p != nil {
		life, d = p.life, time.Duration(float64(d)/p.rate)+time.Microsecond // never too early by rounding
	}
	s.seq++
	heap.Push(&s.queue, event{s.now + max(d, 0), s.seq, p, life, do})
}

// step lets the next thing happen and reports whether there was one before until.
func (s *sim) step(until moment) bool {
	if len(s.queue) == 0 || s.queue[0].at > until {
		s.now = until
		return false
	}
	e := heap.Pop(&s.queue).(event)
	s.now = e.at
	switch {
	case e.of == nil:
		e.do()
	case !e.of.alive || e.of.life != e.life:
	case e.of.frozen:
		e.of.late = append(e.of.late, e.do)
	default:
		e.do()
	}
	return true
}

func (p *process) start() { p.alive = true; p.reset() }

func (p *process) kill() { p.alive = false; p.reset() }

func (p *process) reset() { p.frozen, p.holds, p.late = false, 0, nil; p.life++ }

// freeze stops the process until it was thawed as often.
func (p *process) freeze() {
	if p.alive {
		p.frozen = true
		p.holds++
	}
}

func (p *process) thaw() {
	if p.holds = max(p.holds-1, 0); !p.frozen || p.holds > 0 {
		return
	}
	late := p.late
	p.frozen, p.holds, p.late = false, 0, nil
	for _, do := range late {
		p.s.after(p.s.jitter(0, 20*time.Millisecond, 150*time.Millisecond), p, do)
	}
}

func (s *sim) note(format string, args ...any) {
	if s.traced {
		s.trace = append(s.trace, fmt.Sprintf("%8.3f ", s.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// chooser makes every choice of a run: by chance, or from the script of an earlier one. The first alternative is always the ordinary one.
type chooser struct {
	rng    *rand.Rand
	odd    float64 // how often something else than the ordinary happens
	script []int
	used   []int
}

func (c *chooser) pick(n int, chance float64) int {
	i, v := len(c.used), 0
	switch {
	case c.rng == nil && i < len(c.script):
		v = min(c.script[i], n-1)
	case c.rng != nil && c.rng.Float64() < chance:
		v = c.rng.IntN(n)
	}
	return c.take(v)
}

// take makes the choice v.
func (c *chooser) take(v int) int {
	c.used = append(c.used, v)
	return v
}

// jitter is one of the durations, mostly the first.
func (c *chooser) jitter(of ...time.Duration) time.Duration { return of[c.pick(len(of), c.odd)] }
