package peers

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestPromisesAreAskedOfAllAtOnceAndForTheLeaderItself(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o, silent := newPeer(t, good), newPeer(t, good), newPeer(t, good)
	p.knows(o, silent)
	plea := Plea{Leader: p.me(), Epoch: epoch.Epoch{Site: 1, Local: 7}, Reign: "r", Version: version(9), Duration: record.Duration(8 * time.Second)}
	ago := 1.5
	var got Plea
	o.promise = func(p Plea) Promise { got = p; return Promise{Me: o.me(), Given: true, Wrote: &ago} }
	silent.stop()
	answers := p.client.Plead(context.Background(), []record.Member{p.Member, o.Member, silent.Member}, plea, plenty)
	want := plea
	want.Format = Format
	if got != want {
		t.Errorf("asked: got %+v, want %+v", got, want)
	}
	if a := answers[o.ID]; a.Err != nil || !reflect.DeepEqual(a.Promise, Promise{Format: Format, Me: o.me(), Given: true, Wrote: &ago}) {
		t.Errorf("answer: got %+v", a)
	}
	if a, ok := answers[silent.ID]; !ok || a.Err == nil || a.Promise.Given {
		t.Errorf("who does not answer: got %+v", a)
	}
	if _, ok := answers[p.ID]; ok {
		t.Error("the leader asked itself")
	}
	o.promise = func(Plea) Promise { return Promise{Me: silent.me(), Given: true} }
	if a := p.client.Plead(context.Background(), []record.Member{o.Member}, plea, plenty)[o.ID]; a.Err == nil || !strings.Contains(a.Err.Error(), "answers there") || a.Promise.Given {
		t.Errorf("another member at that address: got %+v", a)
	}
	for name, change := range map[string]func(*Plea){
		"no_leader":     func(p *Plea) { p.Leader.Boot = "" },
		"no_epoch":      func(p *Plea) { p.Epoch = epoch.Epoch{} },
		"no_version":    func(p *Plea) { p.Version = epoch.Version{} },
		"no_duration":   func(p *Plea) { p.Duration = 0 },
		"for_ever":      func(p *Plea) { p.Duration = record.Duration(longestPromise + 1) },
		"another_words": func(p *Plea) { p.Format = Format + 1 },
	} {
		x := plea
		x.Format = Format
		if change(&x); x.validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestPromisesAreMadeToKeepersOnly(t *testing.T) {
	a := authority(t)
	good := issue(t, a, spec, time.Now())
	o := newPeer(t, good)
	o.promise = func(Plea) Promise { t.Error("a stranger was given a promise"); return Promise{} }
	for _, pair := range []string{"", "replication", "server"} {
		conn, err := raw(t, o, good, pair, nil)
		if err != nil {
			continue
		}
		_, _ = conn.Write([]byte("POST " + pathPromise + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"))
		_ = conn.SetReadDeadline(time.Now().Add(plenty))
		b := make([]byte, 1000)
		if n, err := conn.Read(b); err == nil && strings.Contains(string(b[:n]), " 200 ") {
			t.Errorf("%q: got %s", pair, b[:n])
		}
	}
}
