package timeline

import (
	"math"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Fork says where two pasts part: both went along timeline line until at, and no further together. It compares where each timeline began
// as well as its number, as pg_rewind does, because two pasts may have given one number to different timelines (SAFETY D20). ok is false
// when they have nothing in common. Two that have not parted yet have their fork at Never.
//
// Each past is a timeline and how it came about; a history that is missing must not be given as an empty one.
func Fork(own uint32, ownLines []Line, other uint32, otherLines []Line) (line uint32, at lsn.LSN, ok bool) {
	a, b := whole(own, ownLines), whole(other, otherLines)
	for i := range min(len(a), len(b)) {
		if a[i].Timeline != b[i].Timeline {
			break
		}
		line, at, ok = a[i].Timeline, min(a[i].End, b[i].End), true
		if a[i].End != b[i].End {
			break // the next one begins in two places
		}
	}
	return line, at, ok
}

// Never is the end of a timeline that has not been left.
const Never lsn.LSN = math.MaxUint64

func whole(newest uint32, lines []Line) []Line {
	return append(append([]Line(nil), lines...), Line{newest, Never})
}
