package quorum

import "slices"

// least is the same state with other names: the leader is a, and of the others' orders the one that sorts first. Which of them is which
// makes no difference to anything, so only one of these states is looked at; a trail therefore changes names as it goes.
func (e *exploration) least(w world) world {
	var best world
	var key, bestKey [8]uint16
	for i, names := range e.names[w.leader] {
		mask := func(m int) (out int) {
			for j := range e.n {
				out |= m >> j & 1 << names[j]
			}
			return out
		}
		set := func(p packed) packed {
			if p == nobody || p == none {
				return p
			}
			return p&0xf0 | packed(mask(p.of()))
		}
		x := w
		x.leader, x.rec, x.write, x.ordered, x.caught, x.acked = 0, set(w.rec), set(w.write), set(w.ordered), uint8(mask(int(w.caught))), 0
		for j, l := range w.lists {
			x.lists[j] = set(l)
		}
		slices.Sort(x.lists[:])
		for h := range 16 {
			if w.acked>>h&1 == 1 {
				x.acked |= 1 << mask(h)
			}
		}
		key = [8]uint16{uint16(x.rec), uint16(x.write), uint16(x.ordered), uint16(x.caught), x.acked, uint16(x.lists[0]), uint16(x.lists[1]), uint16(x.lists[2])}
		if i == 0 || slices.Compare(key[:], bestKey[:]) < 0 {
			best, bestKey = x, key
		}
	}
	return best
}

// permutations are the ways to name n members with a given one being the first.
func permutations(n, first int) [][4]int {
	var out [][4]int
	for a := range 4 {
		for b := range 4 {
			for c := range 4 {
				for d := range 4 {
					p := [4]int{a, b, c, d}
					good := p[first] == 0
					for i := range 4 {
						good = good && (i < n) == (p[i] < n) && slices.Index(p[:], p[i]) == i && (i < n || p[i] == i)
					}
					if good {
						out = append(out, p)
					}
				}
			}
		}
	}
	return out
}
