package members

import (
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// Patience is how long a member that is not heard stays in the record's list.
const Patience = 10 * time.Second

// With is a list and the others that are not in it.
func With(listed, others []record.Member) []record.Member {
	out := slices.Clone(listed)
	for _, m := range others {
		if !slices.ContainsFunc(listed, func(l record.Member) bool { return l.ID == m.ID }) {
			out = append(out, m)
		}
	}
	return out
}

// Heard divides all known members into those that belong into the record's list and those that are not heard. silent is for how long each was not
// heard. The list is what must answer when the API is away, so one dead member in it would make every such moment an outage; but the last one beside
// the leader stays, else nobody could succeed it (SAFETY D31).
func Heard(all []record.Member, self string, silent map[string]time.Duration) (listed, unheard []record.Member) {
	best := -1
	for i, m := range all {
		if m.ID != self && (best < 0 || silent[m.ID] < silent[all[best].ID]) {
			best = i
		}
	}
	for i, m := range all {
		if m.ID == self || i == best || silent[m.ID] < Patience {
			listed = append(listed, m)
		} else {
			unheard = append(unheard, m)
		}
	}
	return listed, unheard
}
