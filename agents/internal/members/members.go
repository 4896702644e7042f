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

// Slots judges which physical slots there are to be. A slot that is dropped too early cannot be brought back: what its member has not received
// by then is gone, and it has to be cloned. So one that is of no use any more goes only when this process has seen that for TTL: it may have begun a
// moment ago and not know yet who there is.
type Slots struct {
	TTL     time.Duration
	useless map[string]boottime.Instant // since when
}

// Next says which slots to make and to drop: the leader has one for each member but itself (SAFETY D38), and a standby needs none (wanted is empty
// there): what it has is from when it led. A slot that lost its WAL is of no use to anybody and is made again, unless somebody uses it.
func (l *Slots) Next(now boottime.Instant, wanted []record.Member, self string, have []pg.Slot) (create, drop []string) {
	want := map[string]bool{}
	for _, m := range wanted {
		if m.ID != self {
			want[judge.SlotName(m.ID)] = true
		}
	}
	there, useless := map[string]bool{}, map[string]boottime.Instant{}
	for _, s := range have {
		if !s.Physical || s.Temporary || !strings.HasPrefix(s.Name, prefix) {
			continue
		}
		lost := s.WALStatus != nil && *s.WALStatus == "lost"
		switch {
		case s.Active:
			there[s.Name] = true
		case lost, s.Name == judge.SlotName(self): // nobody streams from oneself
			drop = append(drop, s.Name)
		case want[s.Name]:
			there[s.Name] = true
		default:
			since, seen := l.useless[s.Name]
			if !seen {
				since = now
			}
			if useless[s.Name] = since; now.Sub(since) > l.TTL {
				drop = append(drop, s.Name)
			}
		}
	}
	l.useless = useless
	for name := range want {
		if !there[name] {
			create = append(create, name)
		}
	}
	slices.Sort(create)
	return create, drop
}
