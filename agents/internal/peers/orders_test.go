package peers

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// taker is a keeper that takes orders, and the client of a person.
func taker(t *testing.T, files sitecerts.Bundle, order func(context.Context, Verb, Order) Receipt, status func() Status) (*peer, *Client) {
	t.Helper()
	p := newPeer(t, files)
	ctx, cancel := context.WithCancel(context.Background())
	l, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.at = l.Addr().String()
	s := New(Options{TLSDir: p.dir, Log: p.log.logger(), Standing: func() Standing { return p.ask() }, Nudge: func(grant.Incarnation, epoch.Version) {}, Order: order, Status: status})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	p.knows(p)
	return p, p.client
}

func TestOrderArrivesAsItWasGiven(t *testing.T) {
	type given struct {
		verb Verb
		Order
	}
	var got given
	p, c := taker(t, issue(t, authority(t), spec, time.Now()), func(_ context.Context, v Verb, o Order) Receipt {
		got = given{v, o}
		return Receipt{State: Accepted, Reason: "under way", Leader: "db-primary-0"}
	}, nil)
	for _, verb := range Verbs() {
		want := given{verb, Order{Format: Format, ID: "i", Epoch: epoch.Epoch{Site: 1, Local: 3}, Pod: "a", From: "b", For: record.Duration(time.Minute), Reason: "why", DryRun: true, Forwarded: true}}
		r, err := c.Order(t.Context(), p.Member, verb, want.Order)
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
		if r != (Receipt{Format: Format, State: Accepted, Reason: "under way", Leader: "db-primary-0"}) {
			t.Errorf("receipt: %+v", r)
		}
	}
}

func TestStatusArrivesAsItWasSaid(t *testing.T) {
	lag := int64(7)
	want := Status{Format: Format, Me: grant.Incarnation{Member: "v", Pod: "p", Boot: "b"}, Pod: "db-replica-0", Role: "replica", Phase: grant.Running, Server: grant.Standby, Timeline: 3,
		Streaming: true, LagBytes: &lag, Reason: "why", Person: true, Known: "present", PauseLeft: record.Duration(time.Hour), Published: epoch.Epoch{Site: 1, Local: 3},
		Record: &record.Record{Format: 1, Beat: 4, Pause: &record.Pause{ID: "p", Left: record.Duration(time.Hour)}}}
	p, c := taker(t, issue(t, authority(t), spec, time.Now()), nil, func() Status { return want })
	got, err := c.Status(t.Context(), p.Member)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestOrdersThatAreNotUnderstood(t *testing.T) {
	called := false
	p, _ := taker(t, issue(t, authority(t), spec, time.Now()), func(context.Context, Verb, Order) Receipt { called = true; return Receipt{State: Done} }, nil)
	for name, c := range map[string]struct {
		path, body string
		want       int
	}{
		"no_json":       {"/v1/switchover", "now", http.StatusBadRequest},
		"no_format":     {"/v1/switchover", `{"id":"i"}`, http.StatusBadRequest},
		"newer_format":  {"/v1/switchover", `{"format":2,"id":"i"}`, http.StatusBadRequest},
		"no_id":         {"/v1/switchover", `{"format":1}`, http.StatusBadRequest},
		"endless_id":    {"/v1/switchover", `{"format":1,"id":"` + strings.Repeat("x", 101) + `"}`, http.StatusBadRequest},
		"endless_why":   {"/v1/fence", `{"format":1,"id":"i","reason":"` + strings.Repeat("x", 501) + `"}`, http.StatusBadRequest},
		"negative_time": {"/v1/pause", `{"format":1,"id":"i","for":"-1h"}`, http.StatusBadRequest},
		"unknown_verb":  {"/v1/reseed", `{"format":1,"id":"i"}`, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := p.client.certificates.current()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), plenty)
			defer cancel()
			_, err = newLink().exchange(ctx, target{p.at, p.Host, m}, request{http.MethodPost, c.path, []byte(c.body), http.StatusOK})
			if err == nil || !strings.Contains(err.Error(), http.StatusText(c.want)) {
				t.Errorf("got %v, want %d", err, c.want)
			}
		})
	}
	if called {
		t.Error("one of them was carried out")
	}
}

// Whoever may replicate or pool connections may not ask a primary to step down.
func TestOnlyAKeepersCertificateGivesOrders(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	called := false
	p, _ := taker(t, good, func(context.Context, Verb, Order) Receipt { called = true; return Receipt{State: Done} }, func() Status { return Status{Pod: "p"} })
	for _, pair := range []string{"", "replication", "pooler", "server", "keeper"} {
		conn, err := raw(t, p, good, pair, nil)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(plenty))
			_, _ = conn.Write([]byte("POST /v1/switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\n{\"format\":1,\"id\":\"i\"}"))
			b := make([]byte, 1000)
			n, _ := conn.Read(b)
			if admitted := strings.HasPrefix(string(b[:n]), "HTTP/1.1 200"); admitted != (pair == "keeper") || called != admitted {
				t.Errorf("pair %q: %q, carried out: %v", pair, b[:n], called)
			}
		}
	}
	if !called {
		t.Error("the keeper's own was not carried out")
	}
}

func TestSlowLeaderStillAnswers(t *testing.T) {
	p, c := taker(t, issue(t, authority(t), spec, time.Now()), func(ctx context.Context, _ Verb, _ Order) Receipt {
		<-ctx.Done()
		return Receipt{State: Unavailable, Reason: "it took too long"}
	}, nil)
	r, err := c.Order(t.Context(), p.Member, Switchover, Order{ID: "i"})
	if err != nil || r.State != Unavailable {
		t.Errorf("got %+v, %v", r, err)
	}
}
