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
func TestWhoGivesWay(t *testing.T) {
	now := start.Add(time.Second)
	for name, c := range map[string]struct {
		change func(*known, *lease.View)
		want   bool
	}{
		"leader_in_trouble":         {func(*known, *lease.View) {}, true},
		"nobody_else_could":         {func(n *known, _ *lease.View) { n.able = nil }, false},
		"trouble_is_over":           {func(_ *known, v *lease.View) { v.Trouble = "" }, false},
		"gave_way_in_vain":          {func(n *known, _ *lease.View) { n.gaveWay = gaveWay{at(3), now + 1} }, false},
		"gave_way_long_ago":         {func(n *known, _ *lease.View) { n.gaveWay = gaveWay{at(3), now} }, true},
		"gave_way_in_another_epoch": {func(n *known, _ *lease.View) { n.gaveWay = gaveWay{at(2), now + 1} }, true},
		"right_has_ended":           {func(_ *known, v *lease.View) { v.Deadline = start }, false},
		"hands_over_already":        {func(n *known, _ *lease.View) { n.handover = &judge.Handover{} }, false},
		"pod_ends":                  {func(n *known, _ *lease.View) { n.state.Ending = true }, false},
		"server_does_not_write":     {func(n *known, _ *lease.View) { n.state.Server = grant.Promoting }, false},
		"guard_is_not_heard_of_yet": {func(n *known, _ *lease.View) { n.state = nil }, false},
	} {
		n := known{able: []string{"b"}, state: &grant.State{Server: grant.Writable}}
		v := lease.View{Known: lease.Present, Record: record.Record{Epoch: at(3)}, Mine: true, Deadline: start.Add(time.Minute), Trouble: "refused"}
		c.change(&n, &v)
		if got := n.yields(v, now); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
