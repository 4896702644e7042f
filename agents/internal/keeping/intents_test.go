package keeping

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestSuccessors(t *testing.T) {
	pos := func(l lsn.LSN) *lsn.LSN { return &l }
	good := func() (record.Record, peers.Answer, []pg.Sender) {
		r := record.Record{Members: []record.Member{{ID: "pvc-a", Pod: "db-primary-0"}, {ID: "pvc-b", Pod: "db-replica-0"}}}
		a := peers.Answer{Standing: peers.Standing{Me: grant.Incarnation{Member: "pvc-b"}, MayWin: true, Streaming: true, Priority: 3}}
		return r, a, []pg.Sender{{Name: judge.SlotName("pvc-b"), State: "streaming", Flushed: pos(90), Replayed: pos(70)}, {Name: "a clone", State: "backup"}}
	}
	unasked := errors.New("the server does not answer")
	for name, c := range map[string]struct {
		change          func(*record.Record, *peers.Answer, []pg.Sender)
		err             error
		barred, problem string
		lag             int64
	}{
		"streams": {nil, nil, "", "", 30},
		"is_ahead_of_what_was_asked_last": {func(_ *record.Record, _ *peers.Answer, s []pg.Sender) {
			s[0].Flushed, s[0].Replayed = pos(120), pos(110)
		}, nil, "", "", 0},
		"was_not_heard": {func(_ *record.Record, a *peers.Answer, _ []pg.Sender) { a.Err = errors.New("dial timeout") }, nil, "", "not heard: dial timeout", 0},
		"may_not_win": {func(_ *record.Record, a *peers.Answer, _ []pg.Sender) {
			a.Standing.MayWin, a.Standing.Problem = false, "its pod ends"
		}, nil, "its pod ends", "", 0},
		"may_not_win_and_does_not_say_why": {func(_ *record.Record, a *peers.Answer, _ []pg.Sender) { a.Standing.MayWin = false },
			nil, "says that it may not", "", 0},
		"says_that_it_does_not_stream":     {func(_ *record.Record, a *peers.Answer, _ []pg.Sender) { a.Standing.Streaming = false }, nil, "", "does not stream", 0},
		"leader_sees_it_catching_up":       {func(_ *record.Record, _ *peers.Answer, s []pg.Sender) { s[0].State = "catchup" }, nil, "", "does not stream", 0},
		"leader_sees_somebody_else_stream": {func(_ *record.Record, _ *peers.Answer, s []pg.Sender) { s[0].Name = "other" }, nil, "", "does not stream", 0},
		"how_far_is_not_known":             {func(_ *record.Record, _ *peers.Answer, s []pg.Sender) { s[0].Replayed = nil }, nil, "", "not known", 0},
		"server_was_not_asked":             {nil, unasked, "", "the server does not answer", 0},
		"fenced_by_hand": {func(r *record.Record, _ *peers.Answer, _ []pg.Sender) { r.Fence(record.Fenced{Member: "pvc-b"}) },
			nil, "fenced by hand", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, a, s := good()
			if c.change != nil {
				c.change(&r, &a, s)
			}
			got := successorsOf(r, "pvc-a", map[string]peers.Answer{"pvc-b": a}, s, 100, c.err)
			if len(got) != 1 {
				t.Fatalf("got %+v, want the one other member", got)
			}
			g := got[0]
			if g.Pod != "db-replica-0" || g.Lag != c.lag || (g.Barred == "") != (c.barred == "") || (g.Problem == "") != (c.problem == "") ||
				!strings.Contains(g.Barred, c.barred) || !strings.Contains(g.Problem, c.problem) {
				t.Errorf("got %+v", g)
			}
		})
	}
	r, _, s := good()
	if got := successorsOf(r, "pvc-a", nil, s, 100, nil); got[0].Problem == "" {
		t.Errorf("a member that was never asked: got %+v", got)
	}
}

// A fence that was lifted where nobody led is taken off by whoever leads next, and only that one: the member may have been fenced anew meanwhile.
func TestLeaderTakesLiftedFencesOff(t *testing.T) {
	r := record.Record{Fenced: []record.Fenced{{ID: "f1", Member: "b"}, {ID: "f2", Member: "c"}, {Member: "d"}}}
	says := func(name string) peers.Answer { return peers.Answer{Standing: peers.Standing{Unfenced: name}} }
	for name, c := range map[string]struct {
		answers map[string]peers.Answer
		want    []string
	}{
		"nobody_was_heard":        {nil, nil},
		"nothing_was_lifted":      {map[string]peers.Answer{"b": says(""), "d": says("")}, nil},
		"this_one_was":            {map[string]peers.Answer{"b": says("f1")}, []string{"f1"}},
		"an_earlier_one_was":      {map[string]peers.Answer{"b": says("f0")}, nil},
		"another_members":         {map[string]peers.Answer{"b": says("f2")}, nil},
		"of_an_older_release":     {map[string]peers.Answer{"d": says("of d")}, []string{"of d"}},
		"said_before_it_was_lost": {map[string]peers.Answer{"b": {Standing: peers.Standing{Unfenced: "f1"}, Err: errors.New("cut")}}, nil},
	} {
		if got := liftedFences(r, c.answers); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
