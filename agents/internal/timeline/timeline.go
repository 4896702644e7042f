// Package timeline knows how a timeline came about and whether a position lies on its way. A member whose position does not has
// diverged, by however little: it may hold writes that nobody else has (SAFETY D20, D46, rule 14).
package timeline

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Line is an earlier timeline and where it was left for the next one.
type Line struct {
	Timeline uint32  `json:"timeline"`
	End      lsn.LSN `json:"end"`
}

// ParseHistory reads a timeline history file, as PostgreSQL writes it: oldest line first, "<timeline>\t<LSN>\t<reason>".
// An empty file is that of a reserved number (SAFETY rule 14) and gives none.
func ParseHistory(text string) ([]Line, error) {
	var out []Line
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) < 2 {
			return nil, fmt.Errorf("parse timeline history: line %q has no position", s.Text())
		}
		n, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("parse timeline history: %w", err)
		}
		end, err := lsn.Parse(fields[1])
		if err != nil {
			return nil, fmt.Errorf("parse timeline history: %w", err)
		}
		out = append(out, Line{uint32(n), end})
	}
	return out, nil
}

// Where says how a position relates to a leader's timeline.
type Where string

// The relations.
const (
	// On: the position is on the leader's timeline, or on an earlier one before it was left. A member there can follow.
	On Where = "on"
	// Ahead: the position is on an earlier timeline, past where it was left. Beyond says by how much.
	Ahead Where = "ahead"
	// Apart: the timeline is none of the leader's.
	Apart Where = "apart"
	// Unknown: the leader's history is not known yet.
	Unknown Where = "unknown"
)

// Relate says where at on timeline own lies, as seen from a leader on timeline leader that came about by lines. beyond is in bytes,
// and only for Ahead.
func Relate(own uint32, at lsn.LSN, leader uint32, lines []Line) (where Where, beyond int64) {
	if own == leader {
		return On, 0
	}
	if len(lines) == 0 && leader > 1 {
		return Unknown, 0
	}
	i := slices.IndexFunc(lines, func(l Line) bool { return l.Timeline == own })
	switch {
	case i < 0:
		return Apart, 0
	case at <= lines[i].End:
		return On, 0
	default:
		return Ahead, at.Sub(lines[i].End)
	}
}
