package guarding

import (
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
)

// byHand is what the volume is to note of a person's word to stay stopped, after g: only a grant to run lifts it.
func byHand(g grant.Grant, noted bool) bool {
	switch {
	case g.Role == grant.Stop && g.Fenced:
		return true
	case g.Role == grant.Replica || g.Role == grant.Primary:
		return false
	default:
		return noted
	}
}

// noteFence notes it with no server running, once for each such word. A running one's volume is noted by note.
func (g *Guard) noteFence(newest *grant.Grant) {
	if newest == nil || !newest.Fenced || newest.Role != grant.Stop {
		g.fenceNoted = 0
		return
	}
	if g.fenceNoted == newest.Seq {
		return
	}
	held, err := volumelock.Try(g.paths.Lock(), g.config.Holder(program))
	if err == nil {
		var m notes.Member
		if m, err = notes.Update(g.paths, func(m *notes.Member) { m.Fenced = true }); err == nil {
			g.fenceNoted = newest.Seq
			g.report.Update(func(s *grant.State) {
				if s.Volume != nil {
					v := *s.Volume
					v.Fenced = m.Fenced
					s.Volume = &v
				}
			})
		}
		if closing := held.Close(); err == nil {
			err = closing
		}
	}
	if err != nil {
		g.warn("note that a person has fenced this member", err)
	}
}
