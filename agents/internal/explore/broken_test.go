package explore

import (
	"strings"
	"testing"
	"time"
)

// broken are the rules that a run breaks on purpose.
type broken struct {
	casIgnored, takenEarly, countedFromAnswer, neverFenced, promotedUnfenced             bool
	streamKept, voteNotNoted, unknownIsKnown, positionOfBefore, unvotedCount, fewerHeard bool
	anybodyInherits, releasedRunning, vacatedRunning, lineNotReserved, signalForgotten   bool
	weakerFirst, versionForgotten                                                        bool
}

// rules are broken one by one; each must lead to a violation, else the exploration would not notice its loss in the product either.
var rules = map[string]struct {
	rule        string // of SAFETY
	synchronous bool
	broken      broken
	says        string
	// near are the faults that the rule is about: chance takes nothing but these. None: any.
	near []string
	// deep: a violation takes so many runs that it is looked for only with EXPLORE_DEPTH 2. What keeps the rule has a test of its own.
	deep bool
	// seed is one that showed it when this was written. It is tried first; any other does as well.
	seed uint64
}{
	"replaced_whatever_stands_there":        {"4", false, broken{casIgnored: true}, "", nil, false, 5},
	"taken_before_its_time_is_over":         {"4", false, broken{takenEarly: true}, "acknowledges", nil, false, 1},
	"grant_counted_from_the_answer":         {"2", false, broken{countedFromAnswer: true}, "acknowledges", []string{"cut from the API", "API down", "keeper frozen"}, false, 80},
	"never_fenced":                          {"5", false, broken{neverFenced: true}, "acknowledges", nil, false, 5},
	"promoted_before_the_fence_is_armed":    {"5, D15", false, broken{promotedUnfenced: true}, "acknowledges", []string{"hand-over asked for", "keeper killed", "cut from the API", "keeper frozen"}, false, 370},
	"stream_is_not_cut_by_a_vote":           {"8", true, broken{streamKept: true}, "is lost", []string{"node frozen", "cut from the API"}, false, 172},
	"vote_is_forgotten_by_a_restart":        {"8, D3", true, broken{voteNotNoted: true}, "is lost", []string{"node frozen (leader+0, long true)", "keeper killed (leader+1, long false)", "keeper killed (leader+2, long false)", "cut from the API (leader+0, long true)"}, false, 21433},
	"unknown_position_is_what_was_replayed": {"9", true, broken{unknownIsKnown: true}, "is lost", []string{"server killed", "node rebooted", "pod replaced", "cut from its peers"}, false, 1850},
	"position_of_an_earlier_vote":           {"9", true, broken{positionOfBefore: true}, "is lost", []string{"node frozen (leader+0, long true)", "node rebooted (leader+0, long true)"}, true, 26},
	"answer_without_a_vote_on_this_version": {"8", true, broken{unvotedCount: true}, "is lost", []string{"node frozen"}, false, 10},
	"one_member_fewer_is_heard":             {"10", true, broken{fewerHeard: true}, "is lost", nil, false, 1},
	"anybody_inherits_a_released_record":    {"7", true, broken{anybodyInherits: true}, "is lost", []string{"hand-over asked for", "cut from its peers", "server killed"}, false, 5},
	"released_while_the_server_runs":        {"6, 7", false, broken{releasedRunning: true}, "acknowledges", []string{"hand-over asked for", "server frozen"}, false, 31},
	"given_up_while_the_server_runs":        {"6, D36", false, broken{vacatedRunning: true}, "acknowledges", []string{"right given up"}, false, 1},
	"timeline_that_was_not_reserved":        {"14", false, broken{lineNotReserved: true}, "timeline", nil, false, 11},
	"started_as_primary_by_the_grant_alone": {"15", false, broken{signalForgotten: true}, "timeline", nil, false, 0},
	"weaker_before_the_record_says_so":      {"11", true, broken{weakerFirst: true}, "is lost", []string{"cut from its peers", "cut from the API", "server killed", "node frozen"}, false, 564},
	"newer_version_is_not_told_to_guard":    {"8, 25", false, broken{versionForgotten: true}, "not all is well", []string{"API down", "keeper killed", "pod replaced"}, false, 0},
}

// hunt runs through schedules until a violation is found or limit runs were made.
func hunt(near []string, first uint64, synchronous bool, b broken, limit int) (found outcome, seed uint64, runs int) {
	some := []int{0}
	for i := 1; i < choices; i++ {
		for _, name := range near {
			if strings.HasPrefix(nameOf(i), name) {
				some = append(some, i)
			}
		}
	}
	if len(some) == 1 {
		for i := 1; i < choices; i++ {
			some = append(some, i)
		}
	}
	for runs < limit {
		if seed = uint64(runs); runs == 0 {
			seed = first
		}
		runs++
		c := byChance(1e6+seed, []float64{0.02, 0.1, 0.3}[seed%3])
		s := newSim(c, synchronous, b)
		s.run(func(int) int { return some[c.pick(len(some), 0.12)] })
		s.end()
		if found = (outcome{s, c.used}); s.facts.violation != "" {
			break
		}
	}
	return found, seed, runs
}

func TestEveryRuleIsNeeded(t *testing.T) {
	limit := 12000
	if depth(t) > 1 {
		limit = 1000000
	}
	for name, r := range rules {
		if r.deep && depth(t) < 2 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			o, seed, runs := hunt(r.near, r.seed, r.synchronous, r.broken, limit)
			t.Logf("rule %s: seed %d, %d runs, %v: %s", r.rule, seed, runs, time.Since(began).Round(time.Millisecond), o.facts.violation)
			switch {
			case o.facts.violation == "":
				t.Errorf("rule %s is broken and no violation was found in %d runs", r.rule, runs)
			case !strings.Contains(o.facts.violation, r.says):
				t.Errorf("rule %s is broken: got %q, want one that says %q", r.rule, o.facts.violation, r.says)
			}
		})
	}
}
