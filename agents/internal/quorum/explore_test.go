package quorum

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"
)

// packed is a Set of up to four members in one byte: K above, the members below.
type packed uint8

const (
	nobody packed = 0xf0 // a list that cannot be met
	none   packed = 0xff // no promise
)

func pack(s Set) packed {
	if !s.Met() {
		return nobody
	}
	p := packed(s.K << 4)
	for _, m := range s.Members {
		p |= 1 << (m[0] - 'a')
	}
	return p
}

func packPromise(s *Set) packed {
	if s == nil {
		return none
	}
	return pack(*s)
}

func id(i int) string { return string(rune('a' + i)) }

func (p packed) set() Set {
	if p == nobody {
		return Nobody()
	}
	s := Set{K: int(p >> 4)}
	for i := range 4 {
		if p>>i&1 == 1 {
			s.Members = append(s.Members, id(i))
		}
	}
	return s
}

func (p packed) promise() *Set {
	if p == none {
		return nil
	}
	s := p.set()
	return &s
}

func (p packed) of() int { return int(p & 15) }
func (p packed) k() int  { return int(p >> 4) }

// world is one state of a site: what was decided, and where commits may be that were acknowledged on the way to it.
type world struct {
	leader  int8
	rec     packed
	pending bool // write was sent and not answered: the store has rec or write
	write   packed
	ordered packed
	lists   [3]packed // all that some process of the server may go by, sorted; nobody is no list
	inForce bool
	caught  uint8  // members that keeper has seen to have caught up
	acked   uint16 // bit h: there may be a commit on the members of the mask h and nowhere else. Only the smallest h are kept.
}

type exploration struct {
	n       int
	modes   []Facts // mode and number, any of which may be asked for at any time
	seen    map[world]world
	how     map[world]string
	queue   []world
	names   [][][4]int // by leader
	problem string
}

func (e *exploration) add(from, to world, how string) {
	to = e.least(e.acknowledge(to))
	if _, ok := e.seen[to]; !ok {
		e.seen[to] = from
		e.how[to] = how
		e.queue = append(e.queue, to)
	}
}

func (e *exploration) trail(w world) string {
	var out []string
	for len(out) < 60 && e.how[w] != "" {
		out = append(out, e.how[w])
		w = e.seen[w]
	}
	slices.Reverse(out)
	return strings.Join(out, "\n")
}

// acknowledge adds everything that can be acknowledged in this state: the worst case.
func (e *exploration) acknowledge(w world) world {
	if w.rec == none && !w.pending {
		w.acked = 0 // nothing is promised of what is acknowledged without a promise
		return w
	}
	for _, l := range w.lists {
		if l == nobody {
			continue
		}
		for m := range 1 << e.n {
			if m&l.of() == m && bits.OnesCount(uint(m)) == l.k() {
				w.acked |= 1 << (m | 1<<w.leader)
			}
		}
	}
	return smallest(w)
}

func smallest(w world) world {
	for h := range 16 {
		for o := range 16 {
			if h != o && w.acked>>h&1 == 1 && w.acked>>o&1 == 1 && o&h == o {
				w.acked &^= 1 << h
			}
		}
	}
	return w
}

// has puts everything that was acknowledged on the member i.
func (w world) has(i int) world {
	var acked uint16
	for h := range 16 {
		if w.acked>>h&1 == 1 {
			acked |= 1 << (h | 1<<i)
		}
	}
	w.acked = acked
	return w
}

func (w world) order(l packed) world {
	w.ordered, w.inForce, w.caught = l, false, 0
	all := append(w.lists[:], l)
	slices.Sort(all)
	all = slices.Compact(all)
	for len(all) < len(w.lists) {
		all = append(all, nobody)
	}
	for len(all) > len(w.lists) && all[len(all)-1] == nobody {
		all = all[:len(all)-1]
	}
	if len(all) > len(w.lists) {
		return world{} // so many changes before one came into force say nothing new
	}
	copy(w.lists[:], all)
	return w
}

// lost says which election would lose a commit by a promise; empty: none.
func (e *exploration) lost(w world, promise packed) string {
	if promise == none {
		return ""
	}
	need := max(bits.OnesCount(uint(promise.of()))-promise.k()+1, 1)
	for heard := range 1 << e.n {
		if heard>>w.leader&1 == 1 || bits.OnesCount(uint(heard&promise.of())) < need {
			continue
		}
		for h := range 16 {
			if w.acked>>h&1 == 1 && h&heard == 0 {
				return fmt.Sprintf("a commit is on %04b, and an election that hears %04b is enough for the promise %s", h, heard, promise.set())
			}
		}
	}
	return ""
}

// facts calls f with all that keeper may see in this state. What it takes for caught up before the list is in force means nothing.
func (e *exploration) facts(w world, f func(Facts)) {
	combinations := 1
	for range e.n {
		combinations *= 3
	}
	for _, mode := range e.modes {
		for links := range combinations {
			x := Facts{Mode: mode.Mode, Number: mode.Number, Leader: id(int(w.leader)), Record: w.rec.promise(), Pending: w.pending, Ordered: w.ordered.set(),
				InForce: w.inForce, Members: map[string]Member{}}
			for i := range e.n {
				state := links % 3
				links /= 3
				if i == int(w.leader) {
					if state != 0 {
						x.Members = nil
					}
					continue
				}
				if x.Members != nil {
					x.Members[id(i)] = Member{Streams: state == 0, Away: []time.Duration{0, time.Second, Patience}[state], CaughtUp: !w.inForce || w.caught>>i&1 == 1}
				}
			}
			if x.Members != nil {
				f(x)
			}
		}
	}
}

func (e *exploration) step(w world) {
	if w.pending {
		x := w
		x.pending, x.write = false, 0
		e.add(w, x, "the write is lost")
		x.rec = w.write
		e.add(w, x, "the write is confirmed")
	} else {
		e.facts(w, func(f Facts) {
			switch s := Next(f); {
			case s.Write:
				x := w
				if x.pending, x.write = true, packPromise(s.Record); x.write == w.rec {
					e.problem = "the same promise is written again: " + s.Reason
				}
				e.add(w, x, "write "+s.Reason)
			case s.Order != nil:
				if x := w.order(pack(*s.Order)); x != (world{}) {
					e.add(w, x, "order "+s.Reason)
				}
			}
		})
	}
	if !w.inForce {
		x := w
		x.inForce, x.lists, x.caught = true, [3]packed{w.ordered, nobody, nobody}, 0
		e.add(w, x, "the list is in force")
	}
	x := w
	x.inForce, x.caught = false, 0
	e.add(w, x, "keeper restarts")
	for i := range e.n {
		if i == int(w.leader) {
			continue
		}
		if w.inForce && w.caught>>i&1 == 0 {
			x := w.has(i)
			x.caught |= 1 << i
			e.add(w, x, id(i)+" has caught up")
		}
		for _, promise := range []packed{w.rec, w.write} {
			if promise == none || promise.k() == 0 || promise == w.write && !w.pending {
				continue
			}
			x := w.has(i) // whoever wins has heard enough and has the highest position
			x.leader, x.rec, x.pending, x.write = int8(i), promise, false, 0
			x.ordered, x.lists, x.inForce, x.caught = nobody, [3]packed{nobody, nobody, nobody}, false, 0
			e.add(w, x, id(i)+" is elected")
		}
	}
}

// settles checks that everything comes to rest at what is asked for when all stream and all writes are confirmed.
func (e *exploration) settles(w world) string {
	for _, mode := range e.modes {
		f := Facts{Mode: mode.Mode, Number: mode.Number, Leader: id(int(w.leader)), Record: w.rec.promise(), Ordered: w.ordered.set(), InForce: true, Members: map[string]Member{}}
		for i := range e.n {
			if i != int(w.leader) {
				f.Members[id(i)] = Member{Streams: true, CaughtUp: true}
			}
		}
		steps := 0
		for s := Next(f); s.Write || s.Order != nil; s = Next(f) {
			if s.Write {
				f.Record = s.Record
			} else {
				f.Ordered = *s.Order
			}
			if steps++; steps > 8 {
				return fmt.Sprintf("mode %s %d never comes to rest", mode.Mode, mode.Number)
			}
		}
		k := min(mode.Number, e.n-1)
		if mode.Mode == Off {
			k = 0
		}
		switch {
		case mode.Mode == Strict && mode.Number >= e.n:
			if f.Ordered.Met() && f.Ordered.K != mode.Number {
				return fmt.Sprintf("strict mode of %d rests at %s", mode.Number, f.Ordered)
			}
		case f.Ordered.K != k || !f.Ordered.Met(), mode.Mode == Off != (f.Record == nil), mode.Mode != Off && !f.Record.Equal(f.Ordered),
			mode.Mode != Off && len(f.Ordered.Members) != e.n-1:
			return fmt.Sprintf("mode %s %d rests at %s by the promise %v", mode.Mode, mode.Number, f.Ordered, f.Record)
		}
	}
	return ""
}

// SAFETY rules 10 and 11: whatever can acknowledge overlaps whatever can elect, in every state that crashes, lost answers, late reloads, restarts
// and elections can lead to, with the mode changing at any time.
func TestNothingAcknowledgedIsLostWhateverHappensBetweenTwoSteps(t *testing.T) {
	of := func(m Mode, n int) Facts { return Facts{Mode: m, Number: n} }
	for name, c := range map[string]struct {
		n     int
		modes []Facts
	}{
		"one_member":      {1, []Facts{of(Off, 1), of(Any, 1), of(Strict, 1)}},
		"two_members":     {2, []Facts{of(Off, 1), of(Any, 1), of(Strict, 1), of(Any, 2)}},
		"three_members":   {3, []Facts{of(Off, 1), of(Any, 1), of(Any, 2), of(Strict, 1), of(Strict, 2)}},
		"four_members":    {4, []Facts{of(Any, 1), of(Any, 2)}},
		"four_in_strict":  {4, []Facts{of(Strict, 2)}},
		"four_wait_for_3": {4, []Facts{of(Any, 3)}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &exploration{n: c.n, modes: c.modes, seen: map[world]world{}, how: map[world]string{}}
			for first := range c.n {
				e.names = append(e.names, permutations(c.n, first))
			}
			e.add(world{}, world{rec: none, ordered: nobody, lists: [3]packed{nobody, nobody, nobody}}, "begin")
			for i := 0; i < len(e.queue); i++ {
				w := e.queue[i]
				why := e.lost(w, w.rec)
				if w.pending && why == "" {
					why = e.lost(w, w.write)
				}
				if why == "" {
					why = e.settles(w)
				}
				if why == "" {
					why = e.problem
				}
				if why != "" {
					t.Fatalf("%s; after\n%s", why, e.trail(w))
				}
				e.step(w)
				if len(e.queue) > 3_000_000 {
					t.Fatalf("too many states: %d left after %d", len(e.queue)-i, i)
				}
			}
			t.Logf("%d states", len(e.queue))
		})
	}
}
