package explore

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// store is linearizable: one record, replaced by compare-and-set.
type store struct {
	rec     record.Record
	version int
}

var errNoAnswer = errors.New("no answer")

// network says who reaches whom.
type network struct {
	api   [members]bool // cut from the API
	links [members][members]bool
}

func (n *network) linked(a, b int) bool { return !n.links[a][b] && !n.links[b][a] }

// call is a request of a lease loop.
type call struct {
	idle    bool // none: the loop has done what it was told
	replace bool
	version string
	rec     record.Record
}

type answer struct {
	rec     record.Record
	version string
	err     error
}

// lane runs a lease loop as a coroutine: it goes on until it asks the store, and waits there until the model answers.
type lane struct {
	s       *sim
	p       *process
	host    int
	next    func() (call, bool)
	stop    func()
	yield   func(call) bool
	answer  answer
	asked   int // number of the present question; answers to others are too late
	busy    bool
	command func()
	done    func()
}

func newLane(s *sim, p *process, host int) *lane {
	l := &lane{s: s, p: p, host: host}
	l.next, l.stop = iter.Pull(func(yield func(call) bool) {
		l.yield = yield
		for yield(call{idle: true}) {
			l.command()
		}
	})
	l.next() // to the first idle
	return l
}

// run lets the loop do command, and done when that is over.
func (l *lane) run(command, done func()) {
	l.busy, l.command, l.done = true, command, done
	l.resume()
}

func (l *lane) resume() {
	c, ok := l.next()
	switch {
	case !ok:
	case c.idle:
		l.busy = false
		l.done()
	default:
		l.send(c)
	}
}

// send is the way of a request through the network to the store, and of its answer back.
func (l *lane) send(c call) {
	s := l.s
	l.asked++
	number := l.asked
	reply := func(a answer) func() {
		return func() {
			if l.asked == number {
				l.asked++
				l.answer = a
				l.resume()
			}
		}
	}
	s.after(time.Second, l.p, reply(answer{err: errNoAnswer}))
	fate := s.pick(5, s.odd/2) // arrives; request lost; answer lost; arrives late; answered late
	if s.net.api[l.host] || fate == 1 {
		return
	}
	there, back := s.jitter(5*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond), s.jitter(5*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond)
	switch fate {
	case 3:
		there = 3 * time.Second
	case 4:
		back = 900 * time.Millisecond
	}
	s.after(there, nil, func() {
		a := s.store.serve(c, s.broken.casIgnored)
		if fate == 2 || s.net.api[l.host] {
			return
		}
		s.after(back, l.p, reply(a))
	})
}

func (st *store) serve(c call, blind bool) answer {
	if !c.replace {
		return answer{rec: st.rec.Clone(), version: strconv.Itoa(st.version)}
	}
	if c.version != strconv.Itoa(st.version) && !blind {
		return answer{err: lease.ErrConflict}
	}
	st.rec = c.rec.Clone()
	st.version++
	return answer{version: strconv.Itoa(st.version)}
}

func (l *lane) ask(c call) answer {
	if !l.yield(c) {
		return answer{err: errNoAnswer} // the process has ended
	}
	return l.answer
}

// Get, Create and Replace are lease.Store.
func (l *lane) Get(context.Context) (record.Record, string, error) {
	a := l.ask(call{})
	if l.s.broken.takenEarly {
		a.rec.Duration = record.Duration(time.Second)
	}
	return a.rec, a.version, a.err
}

func (l *lane) Create(context.Context, record.Record) (string, error) {
	return "", lease.ErrConflict // there always is a record here
}

func (l *lane) Replace(_ context.Context, version string, r record.Record) (string, error) {
	a := l.ask(call{replace: true, version: version, rec: r.Clone()})
	return a.version, a.err
}
