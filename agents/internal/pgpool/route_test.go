package pgpool

import (
	"testing"
	"time"
)

func TestRoutePrimary(t *testing.T) {
	const patience = 3 * time.Second
	toPrimary, toReplicas := Route{true, Primary}, Route{true, Replicas}
	here, gone := &Sight{true, time.Hour}, &Sight{false, time.Hour}
	cases := map[string]struct {
		now      Route
		primary  Sight
		replicas *Sight
		want     Route
	}{
		"primary_answers":                   {toPrimary, Sight{true, time.Hour}, here, toPrimary},
		"switchover_gap_is_waited_out":      {toPrimary, Sight{false, 2 * time.Second}, here, toPrimary},
		"primary_gone":                      {toPrimary, Sight{false, patience}, here, toReplicas},
		"primary_gone_and_no_replicas":      {toPrimary, Sight{false, time.Hour}, nil, toPrimary},
		"everything_gone":                   {toPrimary, Sight{false, time.Hour}, gone, toPrimary},
		"still_no_primary":                  {toReplicas, Sight{false, time.Hour}, here, toReplicas},
		"primary_flaps":                     {toReplicas, Sight{true, settled / 2}, here, toReplicas},
		"primary_back":                      {toReplicas, Sight{true, settled}, here, toPrimary},
		"primary_back_as_the_replicas_go":   {toReplicas, Sight{true, settled}, gone, toPrimary},
		"replicas_scaled_away_in_read_only": {toReplicas, Sight{false, time.Hour}, nil, toPrimary},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, why := routePrimary(c.now, c.primary, c.replicas, patience)
			if got != c.want || why == "" {
				t.Errorf("got %v (%s), want %v and a reason", got, why, c.want)
			}
		})
	}
}

func TestRouteReplicas(t *testing.T) {
	open, shut := Route{true, Replicas}, Route{false, Replicas}
	cases := map[string]struct {
		now  Route
		s    Sight
		want Route
	}{
		"answer":                               {open, Sight{true, 0}, open},
		"back":                                 {shut, Sight{true, 0}, open},
		"one_of_several_gone":                  {open, Sight{false, missed - 1}, open},
		"one_of_several_gone_after_an_absence": {shut, Sight{false, missed - 1}, shut},
		"gone":                                 {open, Sight{false, missed}, shut},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, why := routeReplicas(c.now, c.s)
			if got != c.want || why == "" {
				t.Errorf("got %v (%s), want %v and a reason", got, why, c.want)
			}
		})
	}
}

func TestDestination(t *testing.T) {
	cases := map[string]struct {
		of, to  Role
		attempt int
		want    Role
	}{
		"primary":                         {Primary, Primary, 0, Primary},
		"primary_is_waited_for":           {Primary, Primary, 9, Primary},
		"no_primary":                      {Primary, Replicas, 0, Replicas},
		"replicas":                        {Replicas, Replicas, 0, Replicas},
		"one_dead_replica_among_others":   {Replicas, Replicas, 1, Replicas},
		"replicas_gone_a_moment_ago":      {Replicas, Replicas, 2, Primary},
		"replicas_gone_a_long_moment_ago": {Replicas, Replicas, 9, Primary},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := destination(c.of, c.to, c.attempt); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
