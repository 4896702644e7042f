package keeping

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// A shutdown that does not end is called off, and is no more likely to end when it is begun again at once.
func TestLeaderThatGaveWayInVainGoesOnForAWhile(t *testing.T) {
	tried := yield{epoch: at(3), since: start}
	for name, c := range map[string]struct {
		y    yield
		e    uint64
		past time.Duration
		want bool
	}{
		"nothing_was_tried":    {yield{}, 3, 0, true},
		"just_tried":           {tried, 3, 30 * time.Second, false},
		"nearly_ten_minutes":   {tried, 3, yieldAgain - 1, false},
		"ten_minutes":          {tried, 3, yieldAgain, true},
		"leads_in_a_new_epoch": {tried, 5, time.Second, true},
	} {
		if got := c.y.over(at(c.e), start.Add(c.past)); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestWhoGivesWay(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*known, *lease.View)
		want   bool
	}{
		"leader_in_trouble":         {func(*known, *lease.View) {}, true},
		"nobody_else_could":         {func(n *known, _ *lease.View) { n.yield = nil }, false},
		"trouble_is_over":           {func(_ *known, v *lease.View) { v.Trouble = "" }, false},
		"wish_of_an_earlier_epoch":  {func(n *known, _ *lease.View) { n.yield.epoch = at(2) }, false},
		"right_has_ended":           {func(_ *known, v *lease.View) { v.Deadline = start }, false},
		"hands_over_already":        {func(n *known, _ *lease.View) { n.handover = &judge.Handover{} }, false},
		"pod_ends":                  {func(n *known, _ *lease.View) { n.state.Ending = true }, false},
		"server_does_not_write":     {func(n *known, _ *lease.View) { n.state.Server = grant.Promoting }, false},
		"guard_is_not_heard_of_yet": {func(n *known, _ *lease.View) { n.state = nil }, false},
	} {
		n := known{yield: &yield{epoch: at(3), since: start, to: []string{"b"}}, state: &grant.State{Server: grant.Writable}}
		v := lease.View{Known: lease.Present, Record: record.Record{Epoch: at(3)}, Mine: true, Deadline: start.Add(time.Minute), Trouble: "refused"}
		c.change(&n, &v)
		if got := n.yields(v, start.Add(time.Second)); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
