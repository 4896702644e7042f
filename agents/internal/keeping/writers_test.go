package keeping

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/peers"
)

// D30: one answer is no proof that a member can reach the store; an interruption begins the time anew.
func TestWhoCouldWriteForLongEnough(t *testing.T) {
	wrote := func(ago float64) peers.PromiseAnswer { return peers.PromiseAnswer{Promise: peers.Promise{Wrote: &ago}} }
	fresh, old := wrote(1), wrote(beatFresh.Seconds()+0.1)
	never, unheard := peers.PromiseAnswer{}, peers.PromiseAnswer{Err: errors.New("no answer")}
	type answers = map[string]peers.PromiseAnswer
	for name, c := range map[string]struct {
		rounds []answers // ten seconds apart
		want   []string
	}{
		"all_the_time":           {[]answers{{"b": fresh, "c": never}, {"b": fresh}, {"b": fresh}}, []string{"b"}},
		"not_long_enough":        {[]answers{{"b": fresh}, {"b": fresh}}, nil},
		"interrupted":            {[]answers{{"b": fresh}, {"b": old}, {"b": fresh}, {"b": fresh}}, nil},
		"not_heard_in_between":   {[]answers{{"b": fresh}, {"b": unheard}, {"b": fresh}}, nil},
		"no_answer_in_between":   {[]answers{{"b": fresh}, {}, {"b": fresh}}, nil},
		"two_of_them":            {[]answers{{"c": fresh, "b": fresh}, {"c": fresh, "b": fresh}, {"c": fresh, "b": fresh}}, []string{"b", "c"}},
		"nobody_since_it_is_all": {[]answers{{"b": never}, {"b": never}, {"b": never}}, nil},
	} {
		var w writers
		now := start
		for i, r := range c.rounds {
			if i > 0 {
				now = now.Add(10 * time.Second)
			}
			w = w.add(now, r)
		}
		if got := w.since(now, ableFor); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
