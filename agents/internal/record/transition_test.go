package record

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
)

func TestGapIsTheLongestWayToAWriter(t *testing.T) {
	stage := func(name string, ms int) Stage {
		return Stage{Name: name, Took: Duration(time.Duration(ms) * time.Millisecond)}
	}
	for name, c := range map[string]struct {
		stages []Stage
		want   time.Duration
	}{
		"promotion_is_last":              {[]Stage{stage(Prepare, 5000), stage(Stop, 100), stage(Elect, 50), stage(Promote, 400), stage(Publish, 20), stage(Proxy, 300)}, 550 * time.Millisecond},
		"proxy_is_last":                  {[]Stage{stage(Stop, 100), stage(Elect, 50), stage(Promote, 400), stage(Publish, 20), stage(Proxy, 900)}, 1070 * time.Millisecond},
		"lease_ran_out":                  {[]Stage{stage(Notice, 8000), stage(Elect, 50), stage(Promote, 400), stage(Publish, 20)}, 8450 * time.Millisecond},
		"nothing_was_measured_of_it_yet": {nil, 0},
	} {
		if got := (Transition{Stages: c.stages}).Gap(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestTransitionIsASentence(t *testing.T) {
	tr := Transition{Epoch: epoch.Epoch{Site: 1, Local: 4}, From: "db-0", To: "db-1", Stages: []Stage{{Name: Stop, Took: Duration(1234567 * time.Nanosecond)}, {Name: Elect, Took: Duration(time.Second)}}}
	if got := tr.String(); got != "db-1 follows db-0 in epoch 1.4: stop 1ms, elect 1s" {
		t.Errorf("got %q", got)
	}
	c := tr.Clone()
	c.Stages[0].Name = "x"
	if tr.From = tr.To; tr.String() != "db-1 in epoch 1.4: stop 1ms, elect 1s" {
		t.Errorf("got %q", tr.String())
	}
}
