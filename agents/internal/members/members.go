// Package members keeps two lists on the leader: who belongs to the site, and one replication slot for each of them. Both are functions
// of values; package keeping asks and does.
package members

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Pod is a pod of the release whose keeper has said which member it is.
type Pod struct {
	Name    string
	Member  string // PVC UID; empty: not a member, or not known yet
	Address string
}

// Host is the name of a pod that certificates are checked against.
func Host(pod, release, namespace, clusterDomain string) string {
	return fmt.Sprintf("%s.%s-members.%s.svc.%s", pod, release, namespace, clusterDomain)
}

// List judges who is listed. A member is its volume: a pod that is gone for a moment stays listed, and leaves when it was not seen for ttl.
// A new pod of a listed member brings its new address.
type List struct {
	TTL  time.Duration
	seen map[string]boottime.Instant // when each listed member's pod was last there, or first missed by this process
}

// Next returns the list after present; host gives a pod's name in certificates. self is never dropped.
func (l *List) Next(now boottime.Instant, listed []record.Member, present []Pod, self string, port int, host func(pod string) string) []record.Member {
	if l.seen == nil {
		l.seen = map[string]boottime.Instant{}
	}
	out := slices.Clone(listed)
	for _, p := range present {
		if p.Member == "" {
			continue
		}
		l.seen[p.Member] = now
		i := slices.IndexFunc(out, func(m record.Member) bool { return m.ID == p.Member })
		if i < 0 {
			if p.Address == "" {
				continue // it could not be reached; it is listed when it has an address
			}
			out = append(out, record.Member{ID: p.Member})
			i = len(out) - 1
		}
		out[i].Pod, out[i].Host, out[i].Port = p.Name, host(p.Name), port
		if p.Address != "" {
			out[i].Address = p.Address
		}
	}
	return slices.DeleteFunc(out, func(m record.Member) bool {
		last, known := l.seen[m.ID]
		if !known {
			l.seen[m.ID] = now // a keeper that has just started gives everybody the full time
			return false
		}
		return m.ID != self && now.Sub(last) > l.TTL
	})
}

// prefix is that of all slots made here. Others belong to the user.
const prefix = "pgspan_"

// Slots says which physical slots the leader makes and drops: one for each listed member but itself (SAFETY D38). A slot that lost its
// WAL is of no use to anybody and is made again. The list has its own patience with members that are away, so a slot of a member that is not
// listed goes at once, unless somebody uses it.
func Slots(listed []record.Member, self string, have []pg.Slot) (create, drop []string) {
	want := map[string]bool{}
	for _, m := range listed {
		if m.ID != self {
			want[judge.SlotName(m.ID)] = true
		}
	}
	there := map[string]bool{}
	for _, s := range have {
		if !s.Physical || s.Temporary || !strings.HasPrefix(s.Name, prefix) {
			continue
		}
		lost := s.WALStatus != nil && *s.WALStatus == "lost"
		switch {
		case s.Active:
			there[s.Name] = true
		case lost, !want[s.Name]:
			drop = append(drop, s.Name)
		default:
			there[s.Name] = true
		}
	}
	for name := range want {
		if !there[name] {
			create = append(create, name)
		}
	}
	slices.Sort(create)
	return create, drop
}
