package keeping

import (
	"errors"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/members"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// What a new leader, or a new process of a leader's keeper, knows of members that its predecessor had not heard: it has not heard them either. To list
// them again at once would make an outage of the API in the next ten seconds its own end.
func TestWhoIsAwayIsListedOnlyWhenHeard(t *testing.T) {
	r := record.Record{
		Members: []record.Member{{ID: "a"}, {ID: "b"}}, Away: []record.Member{{ID: "c"}, {ID: "d"}}, Sync: &record.Sync{K: 1, Members: []string{"b"}},
	}
	all := append(r.Known(), record.Member{ID: "new"})
	streams := peers.Answer{Standing: peers.Standing{Streaming: true, MayWin: true}}
	var n known
	check := func(what string, at boottime.Instant, want map[string]members.Hearing) {
		t.Helper()
		got := n.hearings(at, r, all)
		for id, w := range want {
			if got[id] != w {
				t.Errorf("%s: %s: got %+v, want %+v", what, id, got[id], w)
			}
		}
	}
	check("before anybody was asked", start, map[string]members.Hearing{"b": {Promised: true}, "c": {Silent: members.Patience}, "new": {}})
	n.hear(start, r, map[string]peers.Answer{"b": {Err: errors.New("cut")}, "c": {Err: errors.New("cut")}, "d": streams})
	check("after one round", start.Add(time.Second), map[string]members.Hearing{
		"b": {Silent: time.Second, Promised: true}, "c": {Silent: members.Patience}, "d": {Silent: time.Second, Fit: members.Able},
	})
	n.hear(start.Add(2*time.Second), r, map[string]peers.Answer{"b": streams, "d": {Standing: peers.Standing{Streaming: true}}})
	n.hear(start.Add(4*time.Second), r, nil)
	check("later", start.Add(5*time.Second), map[string]members.Hearing{
		"b": {Silent: 3 * time.Second, Fit: members.Able, Promised: true}, "c": {Silent: members.Patience}, "d": {Silent: 3 * time.Second, Fit: members.Unfit},
	})
}

func TestWhoIsAwayIsKeptInTheRecord(t *testing.T) {
	r := record.Record{Epoch: at(3), Members: []record.Member{{ID: "a"}, {ID: "b"}}}
	news{epoch: at(3), members: []record.Member{{ID: "a"}}, away: []record.Member{{ID: "b"}}}.apply(&r)
	text, err := record.Record{Format: 1, Holder: me, Duration: 1, Epoch: at(3), Timeline: 3, Members: r.Members, Away: r.Away}.Text()
	if err != nil {
		t.Fatal(err)
	}
	next, err := record.Parse(text)
	if err != nil || len(next.Away) != 1 || next.Listed("b") || len(next.Known()) != 2 {
		t.Errorf("got %+v, %v", next, err)
	}
	news{epoch: at(3), lsn: 7}.apply(&next)
	if len(next.Away) != 1 {
		t.Error("news that say nothing of members took the absent ones away: the next leader makes no slot for them")
	}
	news{epoch: at(3), members: []record.Member{{ID: "a"}, {ID: "b"}}}.apply(&next)
	if len(next.Away) != 0 {
		t.Error("listed, and away as well")
	}
}

func TestWhoIsAwayCanBeFencedByHand(t *testing.T) {
	r := record.Record{Members: []record.Member{{ID: "a", Pod: "db-0"}}, Away: []record.Member{{ID: "b", Pod: "db-1"}}}
	var m record.Member
	if err := memberOf(r, "db-1", &m); err != nil || m.ID != "b" {
		t.Errorf("got %+v, %v", m, err)
	}
	if err := memberOf(r, "db-2", &m); err == nil {
		t.Error("a pod that is no member's was found")
	}
}

// A leader looks for new members less often while all are there and heard: one that is missing, silent or away must bring it back to looking.
func TestSiteIsCompleteWhileAllAreListedAndHeard(t *testing.T) {
	listed := record.Record{Members: []record.Member{{ID: "a"}, {ID: "b"}}}
	away := record.Record{Members: listed.Members, Away: []record.Member{{ID: "c"}}}
	var fresh, unasked known
	fresh.hear(start, listed, map[string]peers.Answer{"b": {}})
	for name, c := range map[string]struct {
		n       known
		r       record.Record
		after   time.Duration
		members int
		want    bool
	}{
		"all_heard":               {fresh, listed, 3 * time.Second, 2, true},
		"one_missed_its_round":    {fresh, listed, 4 * time.Second, 2, false},
		"one_more_is_to_come":     {fresh, listed, time.Second, 3, false},
		"one_too_many":            {fresh, listed, time.Second, 1, false},
		"one_is_away":             {fresh, away, time.Second, 2, false},
		"nobody_was_asked_yet":    {unasked, listed, time.Second, 2, false},
		"alone_as_it_is_to_be":    {unasked, record.Record{Members: listed.Members[:1]}, time.Second, 1, true},
		"nobody_is_listed_at_all": {unasked, record.Record{}, time.Second, 1, false},
	} {
		if got := c.n.complete(start.Add(c.after), c.r, "a", c.members); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
