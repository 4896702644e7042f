package explore

import (
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// entry is one WAL record. Two entries of one sum have one past. A position is the number of entries before it.
type entry struct {
	line uint32
	id   int // of a commit; 0: a promotion or a shutdown checkpoint
	sum  uint64
}

type wal []entry

func (w wal) sum() uint64 {
	if len(w) == 0 {
		return 0
	}
	return w[len(w)-1].sum
}

func (w wal) line() uint32 {
	if len(w) == 0 {
		return 1
	}
	return w[len(w)-1].line
}

func (w wal) add(line uint32, id int) wal {
	h := w.sum()*1099511628211 ^ uint64(line)<<32 ^ uint64(id) ^ uint64(len(w))
	return append(w, entry{line, id, h*0x9E3779B97F4A7C15 + 1})
}

// lines is the history of the timeline that w ends on.
func (w wal) lines() []timeline.Line {
	var out []timeline.Line
	for i := 1; i < len(w); i++ {
		if w[i].line != w[i-1].line {
			out = append(out, timeline.Line{Timeline: w[i-1].line, End: lsn.LSN(i)})
		}
	}
	return out
}

// shared is the length of the past that both have.
func (w wal) shared(o wal) int {
	n := min(len(w), len(o))
	for n > 0 && w[n-1].sum != o[n-1].sum {
		n--
	}
	return n
}
