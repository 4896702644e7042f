package keeping

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

func TestStandbyOfAnotherServerThanItWasTold(t *testing.T) {
	up := &grant.Upstream{Host: "db-0.db", Address: "10.0.0.1", Port: 5432}
	right := pg.Receiver{Host: "db-0.db", Address: "10.0.0.1", Port: 5432}
	follows, alone := &grant.Grant{Role: grant.Replica, Upstream: up}, &grant.Grant{Role: grant.Replica}
	with := func(change func(*pg.Receiver)) *pg.Receiver {
		r := right
		change(&r)
		return &r
	}
	for name, c := range map[string]struct {
		r    *pg.Receiver
		g    *grant.Grant
		want string
	}{
		"the_right_one":              {&right, follows, ""},
		"no_receiver":                {nil, follows, ""},
		"no_grant_yet":               {&right, nil, ""},
		"grant_of_a_primary":         {&right, &grant.Grant{Role: grant.Primary}, ""},
		"another_host":               {with(func(r *pg.Receiver) { r.Host = "db-1.db" }), follows, "db-1.db (10.0.0.1) port 5432"},
		"the_name_at_an_old_address": {with(func(r *pg.Receiver) { r.Address = "10.0.0.9" }), follows, "db-0.db (10.0.0.9) port 5432"},
		"another_port":               {with(func(r *pg.Receiver) { r.Port = 5433 }), follows, "db-0.db (10.0.0.1) port 5433"},
		"told_to_stream_from_nobody": {&right, alone, "db-0.db (10.0.0.1) port 5432"},
	} {
		if got := stranger(c.r, c.g); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
