// Package quorum decides, in synchronous mode, whom commits wait for and what the record says about it. It is pure: facts in, the next
// single step and its reason out.
//
// The record promises: every acknowledged commit is on at least K of its Members. An election hears |Members| - K + 1 of them and so
// always one that has the commit (SAFETY rule 10). The server acknowledges by a list of its own (synchronous_standby_names), and the two
// cannot be changed in one moment. So each step changes one of them, and only so that the promise holds before, while and after (rule 11):
//
//   - another list is given to the server only if whatever can acknowledge by it keeps what the confirmed record promises;
//   - another promise is written only if every commit that was ever acknowledged keeps it: those of before, because of the old promise and
//     of members that have been seen to have caught up; later ones, because of the list that is in force.
//
// From that follows the usual order: stronger is the server first and the record when the members have caught up; weaker is the record
// first. Where neither can be first, a promise that both lists keep is written in between.
package quorum

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Patience is how long a member of the set may be away before it is taken out.
const Patience = 10 * time.Second

// Mode of replication.
type Mode string

const (
	// Off: commits wait for nobody.
	Off Mode = "off"
	// Any: commits wait for Number members, or for as many as there are.
	Any Mode = "any"
	// Strict: commits wait for Number members, however long.
	Strict Mode = "strict"
)

// Set is K of Members. With K above the number of members it is a list that nobody can meet: nothing is acknowledged by it. With K 0
// nobody is waited for, or nothing is promised.
type Set struct {
	K       int
	Members []string // sorted
}

// Nobody is the list that cannot be met, with which every server of synchronous mode begins.
func Nobody() Set { return Set{K: 1} }

// Met reports whether the list can be met at all.
func (s Set) Met() bool { return s.K <= len(s.Members) }

// Equal reports whether two sets say the same. All lists that nobody can meet do.
func (s Set) Equal(o Set) bool {
	if !s.Met() || !o.Met() {
		return s.Met() == o.Met()
	}
	return s.K == o.K && slices.Equal(s.Members, o.Members)
}

// String gives the set for sentences.
func (s Set) String() string {
	switch {
	case !s.Met():
		return "nobody can acknowledge"
	case s.K == 0:
		return "nobody"
	}
	return fmt.Sprintf("%d of %s", s.K, strings.Join(s.Members, ", "))
}

func (s Set) has(id string) bool { return slices.Contains(s.Members, id) }

// Facts is what a step rests on.
type Facts struct {
	Mode   Mode
	Number int
	// Leader is the member that leads. It has every acknowledged commit.
	Leader string
	// Record is the promise as the store has confirmed it; nil: none was made.
	Record *Set
	// Pending: a change of the promise is under way and not confirmed.
	Pending bool
	// Ordered is the list that the server was last told to have in this epoch; the one of before may still be in force.
	Ordered Set
	// InForce: every process of the server goes by Ordered.
	InForce bool
	// Members are the listed ones but the leader, by id.
	Members map[string]Member
}

// Member is what is known of one other member.
type Member struct {
	// Streams: by its own slot and name, and caught up with the leader (rule 12).
	Streams bool
	// Away is how long it has not done so.
	Away time.Duration
	// Voted: its position was heard in the election of this leader. It is about to stream again, although the set of before may not name it.
	Voted bool
	// CaughtUp: it has on disk all that the leader had written when Ordered had come into force.
	CaughtUp bool
}

// Step is the next change; at most one of Order and Write.
type Step struct {
	// Order is the list that the server is to have; nil: as it is.
	Order *Set
	// Write says that the record is to promise Record; nil: nothing.
	Write  bool
	Record *Set
	Reason string
}

// Next decides.
func Next(f Facts) Step {
	switch {
	case f.Pending:
		return Step{Reason: "the record's synchronous set is being changed and the store has not confirmed it"}
	case f.Mode == Off && f.Record != nil:
		return Step{Write: true, Reason: "synchronous mode is off"}
	case f.Mode == Off && !f.Ordered.Equal(Set{}):
		return Step{Order: &Set{}, Reason: "synchronous mode is off"}
	case f.Mode == Off:
		return Step{}
	case f.Record == nil:
		// Nothing is promised by it, but from now on nobody is elected who may lack a commit.
		return Step{Write: true, Record: &Set{}, Reason: "synchronous mode is on"}
	}
	want, why := f.target()
	if !f.Ordered.Equal(want) {
		return f.towards(want, why)
	}
	switch {
	case !want.Met() || f.Record.Equal(want):
		return Step{Reason: why}
	case f.keeps(want):
		return Step{Write: true, Record: &want, Reason: why}
	case !f.InForce:
		return Step{Reason: why + "; waiting until every process of the server goes by it"}
	default:
		return Step{Reason: why + "; waiting until enough of them have caught up"}
	}
}

// towards changes the server's list, or first what keeps it from being changed.
func (f Facts) towards(want Set, why string) Step {
	switch {
	case acknowledges(want, *f.Record, f.Leader) >= f.Record.K:
		return Step{Order: &want, Reason: why}
	case f.keeps(want):
		return Step{Write: true, Record: &want, Reason: why}
	}
	// Every commit that keeps the old promise keeps this one, and what is acknowledged by the wanted list does too.
	between := Set{Members: union(f.Record.Members, want.Members)}
	between.K = min(f.Record.K, acknowledges(want, between, f.Leader))
	return Step{Write: true, Record: &between, Reason: why + "; before that a set that the list of before and the next one keep"}
}

// target is whom commits should wait for.
func (f Facts) target() (Set, string) {
	var members, away []string
	for id, m := range f.Members {
		switch {
		case m.Streams:
			members = append(members, id)
		case !f.Record.has(id) && !f.Ordered.has(id) && !m.Voted:
		case m.Away < Patience:
			members = append(members, id)
			away = append(away, id)
		default:
			away = append(away, id)
		}
	}
	slices.Sort(members)
	slices.Sort(away)
	missing := ""
	if len(away) > 0 {
		missing = "; not streaming: " + strings.Join(away, ", ")
	}
	n := max(f.Number, 1)
	switch {
	case len(members) >= n:
		s := Set{K: n, Members: members}
		return s, "commits wait for " + s.String() + missing
	case f.Mode == Any:
		s := Set{K: len(members), Members: members}
		return s, fmt.Sprintf("commits wait for %s, although %d are asked for%s", s, n, missing)
	case f.Ordered.Met() && f.Ordered.K == n:
		return f.Ordered, fmt.Sprintf("commits wait for %s; %d stream, and strict mode asks for %d%s", f.Ordered, len(members), n, missing)
	default:
		return Nobody(), fmt.Sprintf("commits wait until %d members stream (strict mode)%s", n, missing)
	}
}

// keeps reports whether every commit that was acknowledged, or can be before the next step, keeps the promise to.
func (f Facts) keeps(to Set) bool {
	// All of them keep the old promise, whatever list is in force.
	if guaranteed(*f.Record, to, []string{f.Leader}) >= to.K {
		return true
	}
	if !f.InForce {
		return false
	}
	caught := []string{f.Leader}
	for id, m := range f.Members {
		if m.CaughtUp {
			caught = append(caught, id)
		}
	}
	return guaranteed(*f.Record, to, caught) >= to.K && acknowledges(f.Ordered, to, f.Leader) >= to.K
}

// guaranteed is on how many members of to a commit is, of which the promise from is kept, and which all of have hold.
func guaranteed(from, to Set, have []string) int {
	n, rest := 0, from.K
	for _, id := range to.Members {
		if slices.Contains(have, id) {
			n++
		}
	}
	for _, id := range from.Members {
		// The worst case: those that are known to have it, and those that count no more, are the ones that the promise was kept by.
		if slices.Contains(have, id) || !to.has(id) {
			rest--
		}
	}
	return n + max(rest, 0)
}

// acknowledges is on how many members of promise a commit is, in the worst case, that was acknowledged by list.
func acknowledges(list, promise Set, leader string) int {
	if !list.Met() {
		return math.MaxInt
	}
	n := list.K
	for _, id := range list.Members {
		if !promise.has(id) {
			n--
		}
	}
	n = max(n, 0)
	if promise.has(leader) && !list.has(leader) {
		n++
	}
	return n
}

func union(lists ...[]string) []string {
	out := slices.Concat(lists...)
	slices.Sort(out)
	return slices.Compact(out)
}
