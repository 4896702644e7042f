package members

import (
	"cmp"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// Patience is how long a member that is not heard stays in the record's list.
const Patience = 10 * time.Second

// Fit is whether a member could succeed the leader, by what its keeper said last: it streams, and may win.
type Fit int

const (
	Unfit   Fit = iota - 1
	Unknown     // it was never heard by this leader
	Able
)

// Hearing is what the leader knows of another member.
type Hearing struct {
	// Silent is for how long its keeper was not heard.
	Silent time.Duration
	Fit    Fit
	// Promised: it is one of those by whom the record counts acknowledged commits.
	Promised bool
}

// Heard divides all known members into those that belong into the record's list and those that are away. The list is what must answer when the API
// is away, so one dead member in it would make every such moment an outage (SAFETY D31). But whoever leaves it can never succeed the leader, so a
// silent member leaves only while another one is heard that could; otherwise the one stays that is the likeliest to be able to, even if others
// are heard that are not: they may be clones that have just begun. And as long as commits are counted by a member, elections need it.
func Heard(all []record.Member, self string, of map[string]Hearing) (listed, away []record.Member) {
	able, best := false, -1
	for i, m := range all {
		h := of[m.ID]
		switch {
		case m.ID == self:
			continue
		case best < 0 || cmp.Or(cmp.Compare(h.Fit, of[all[best].ID].Fit), cmp.Compare(of[all[best].ID].Silent, h.Silent)) > 0:
			best = i
		}
		able = able || h.Fit == Able && h.Silent < Patience
	}
	for i, m := range all {
		if h := of[m.ID]; m.ID == self || h.Silent < Patience || h.Promised || !able && i == best {
			listed = append(listed, m)
		} else {
			away = append(away, m)
		}
	}
	return listed, away
}
