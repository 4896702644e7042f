package pgpool

import "testing"

func TestBusy(t *testing.T) {
	cases := map[string]struct {
		title         string
		busy, waiting bool
	}{
		"no_client":                   {"pgpool: wait for connection request", false, true},
		"no_client_and_not_its_turn":  {"pgpool: wait for accept lock", false, true},
		"client_that_does_nothing":    {"pgpool: app postgres 127.0.0.1(50412) idle", false, false},
		"open_transaction":            {"pgpool: app postgres 127.0.0.1(50412) idle in transaction", true, false},
		"query":                       {"pgpool: app postgres 127.0.0.1(50412) SELECT", true, false},
		"client_that_logs_in":         {"pgpool: accept connection", true, false},
		"unknown_is_not_idle":         {"pgpool: something new", true, false},
		"not_yet_named":               {"/usr/sbin/pgpool -n", true, false},
		"administration":              {"pgpool: PCP: wait for connection request", false, false},
		"streaming_replication_check": {"pgpool: worker process", false, false},
		"health_check":                {"pgpool: health check process(0)", false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := session{title: c.title}
			if s.busy() != c.busy || s.waiting() != c.waiting {
				t.Errorf("busy %v, waiting %v; want %v, %v", s.busy(), s.waiting(), c.busy, c.waiting)
			}
		})
	}
}
