package orders

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// seen is a site that all is well with: db-primary-0 leads in epoch 1.3.
func seen() (View, *record.Record) {
	r := recorded(at(3), 9)
	return View{Heard: []peers.Status{
		{Pod: "db-primary-0", Me: grant.Incarnation{Member: "volume-db-primary-0"}, Role: "primary", Leads: true, Published: at(3), Server: grant.Writable, Record: r},
		{Pod: "db-replica-0", Me: grant.Incarnation{Member: "volume-db-replica-0"}, Role: "replica", Server: grant.Standby, Record: r, Reason: "why"},
	}}, r
}

func TestObserved(t *testing.T) {
	type change = func(*View, *record.Record)
	intent := func(s record.State) change {
		return func(_ *View, r *record.Record) { r.Intend(record.Intent{ID: "one", State: s, Outcome: "outcome"}) }
	}
	fence := func(_ *View, r *record.Record) {
		r.Fence(record.Fenced{Member: "volume-db-replica-0", Pod: "db-replica-0"})
	}
	all := func(changes ...change) change {
		return func(v *View, r *record.Record) {
			for _, c := range changes {
				c(v, r)
			}
		}
	}
	down := func(v *View, _ *record.Record) { v.Heard[1].Server = grant.Down }
	silent := func(v *View, _ *record.Record) { v.Heard = v.Heard[:1] }
	rollout := func(id string, s record.State) change {
		return func(v *View, r *record.Record) {
			r.Rollout, v.Heard[0].Rollout = &record.Rollout{ID: id, State: s, Outcome: "outcome"}, "what is awaited"
		}
	}
	order := peers.Order{ID: "one", Pod: "db-replica-0"}
	for name, c := range map[string]struct {
		verb   peers.Verb
		change change
		want   Outcome
		says   string
	}{
		"nobody_knows_a_record": {peers.Switchover, func(v *View, _ *record.Record) { v.Heard[0].Record, v.Heard[1].Record = nil, nil }, Pending, "no keeper knows"},
		"settled_and_served":    {peers.Switchover, intent(record.Done), Done, "db-primary-0 leads in epoch 1.3"},
		"settled_and_not_writable": {peers.Switchover, all(intent(record.Done), func(v *View, _ *record.Record) { v.Heard[0].Role = "" }),
			Pending, "not writable"},
		"settled_and_not_published": {peers.Switchover, all(intent(record.Done), func(v *View, _ *record.Record) { v.Heard[0].Published = at(2) }),
			Pending, "Service for writing"},
		"settled_by_a_leader_that_is_gone": {peers.Switchover, all(intent(record.Done), func(v *View, _ *record.Record) { v.Heard[0].Leads = false }), Pending, "not heard"},
		"old_leader_speaks_of_an_old_epoch": {peers.Switchover, all(intent(record.Done), func(v *View, r *record.Record) {
			newer := r.Clone()
			newer.Epoch = at(4)
			v.Heard[1].Record = &newer
		}), Pending, "epoch 1.4 is not heard"},
		"rollout_under_way":                  {peers.Rollout, rollout("one", record.Open), Pending, "what is awaited"},
		"rollout_done":                       {peers.Rollout, rollout("one", record.Done), Done, "outcome"},
		"rollout_done_and_not_published":     {peers.Rollout, all(rollout("one", record.Done), func(v *View, _ *record.Record) { v.Heard[0].Published = at(2) }), Pending, "Service for writing"},
		"rollout_stopped":                    {peers.Rollout, rollout("one", record.Refused), Stopped, "outcome"},
		"rollout_replaced_by_a_later_one":    {peers.Rollout, rollout("two", record.Open), Stopped, "two was asked for later"},
		"rollout_before_and_nobody_leads":    {peers.Rollout, all(rollout("two", record.Done), func(v *View, _ *record.Record) { v.Heard[0].Leads = false }), Pending, "no member leads"},
		"rollout_while_nobody_leads":         {peers.Rollout, all(rollout("one", record.Open), func(v *View, _ *record.Record) { v.Heard[0].Leads = false }), Pending, "no member leads"},
		"rollout_of_a_leader_that_is_silent": {peers.Rollout, all(rollout("one", record.Open), func(v *View, _ *record.Record) { v.Heard[0].Rollout = "" }), Pending, "has not looked yet"},
		"refused":                            {peers.Switchover, intent(record.Refused), Refused, "outcome"},
		"open":                               {peers.Switchover, intent(record.Open), Pending, "still leads"},

		"fence_not_written":           {peers.Fence, down, Pending, "does not say so"},
		"fenced_and_running":          {peers.Fence, fence, Pending, "has not stopped"},
		"fenced_and_not_heard":        {peers.Fence, all(fence, silent), Pending, "not heard"},
		"fenced_and_stopped":          {peers.Fence, all(fence, down), Done, "is stopped"},
		"fenced_after_a_hand_over":    {peers.Fence, all(fence, down, intent(record.Done)), Done, "leads to it; db-replica-0 is stopped"},
		"fence_of_a_leader_refused":   {peers.Fence, intent(record.Refused), Refused, "outcome"},
		"fence_of_a_leader_under_way": {peers.Fence, intent(record.Open), Pending, "does not say so"},
		"unfenced_and_running":        {peers.Unfence, nil, Done, "runs as standby"},
		"unfenced_and_down":           {peers.Unfence, down, Pending, "does not run yet: why"},
		"unfenced_and_not_heard":      {peers.Unfence, silent, Pending, "not heard"},
		"unfence_not_written":         {peers.Unfence, fence, Pending, "does not say so"},

		"paused": {peers.Pause, func(_ *View, r *record.Record) {
			r.Pause = &record.Pause{ID: "one", Left: record.Duration(time.Minute)}
		}, Done, "paused for 1m0s"},
		"paused_by_somebody_else": {peers.Pause, func(_ *View, r *record.Record) { r.Pause = &record.Pause{ID: "two"} }, Pending, "does not say so"},
		"resumed":                 {peers.Resume, nil, Done, "not paused"},
		"resume_not_written":      {peers.Resume, func(_ *View, r *record.Record) { r.Pause = &record.Pause{ID: "two"} }, Pending, "does not say so"},
		"resume_without_a_leader_not_everywhere": {peers.Resume, func(v *View, r *record.Record) {
			r.Pause, v.Heard[0].Leads, v.Heard[1].PauseLeft = &record.Pause{ID: "two"}, false, 1
		}, Pending, "db-replica-0 has not lifted"},
	} {
		t.Run(name, func(t *testing.T) {
			v, r := seen()
			if c.change != nil {
				c.change(&v, r)
			}
			if got, says := Observed(v, c.verb, order); got != c.want || !strings.Contains(says, c.says) {
				t.Errorf("got %v, %q; want %v, %q", got, says, c.want, c.says)
			}
		})
	}
}

func TestReport(t *testing.T) {
	v, r := seen()
	lag := int64(42)
	v.Heard[1].Streaming, v.Heard[1].LagBytes, v.Heard[1].Timeline = true, &lag, 3
	r.Fence(record.Fenced{Member: "volume-db-replica-1", Pod: "db-replica-1"})
	for i, m := range r.Members { // not heard for ten seconds, and a member still
		if m.Pod == "db-replica-1" {
			r.Members, r.Away = append(r.Members[:i:i], r.Members[i+1:]...), []record.Member{m}
		}
	}
	r.Pause = &record.Pause{ID: "p", Reason: "new disks"}
	r.Intend(record.Intent{ID: "i-7", Kind: record.Switchover, State: record.Open})
	v.Heard[0].PauseLeft = record.Duration(90 * time.Second)
	var out strings.Builder
	if err := ReportOf(v).Print(&out); err != nil {
		t.Fatal(err)
	}
	want := `epoch 1.3, timeline 3: db-primary-0 leads, writable
paused for another 1m30s: no elections, no switchovers. new disks
switchover i-7 is under way
POD           ROLE     PHASE  TIMELINE  STREAMS  LAG   REASON
db-primary-0  primary  -      -         -        -     
db-replica-0  replica  -      3         yes      42 B  why
db-replica-1  fenced   -      -         -        -     
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	v.Heard[0].Leads, v.Heard[1].LagBytes = false, nil
	v.Heard[0].Alarms = []string{"db-primary-0 leads and writes, and so does db-replica-1"}
	if err := ReportOf(v).Print(&out); err != nil || !strings.HasPrefix(out.String(), "ALARM: db-primary-0: db-primary-0 leads") || !strings.Contains(out.String(), "no member leads") || !strings.Contains(out.String(), "unknown") {
		t.Errorf("got %v\n%s", err, out.String())
	}
}
