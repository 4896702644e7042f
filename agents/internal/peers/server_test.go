package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
)

func version(beat uint64) epoch.Version {
	return epoch.Version{Epoch: epoch.Epoch{Site: 1, Local: 7}, Beat: beat}
}

func TestStandingArrivesAsItWasSaid(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	for _, want := range []Standing{
		{Format: Format, Me: o.me(), Pod: o.Pod, SystemID: "7000000000000000001", Version: version(9), Known: true, Timeline: 3, Position: lsn.LSN(0x16_B374D848),
			MayWin: true, Priority: -5, Streaming: true, Received: lsn.LSN(0x16_B374D900), Epoch: epoch.Epoch{Site: 2, Local: 1}, Problem: "what hinders"},
		{Format: Format, Me: o.me(), Pod: o.Pod, Problem: "no standby runs"},
	} {
		o.ask = func() Standing { s := want; s.Format = 0; return s } // the format is the server's to say
		if got := heard(t, p, o); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestPeersAreToldToLook(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	p.knows(o)
	type nudge struct {
		from grant.Incarnation
		v    epoch.Version
	}
	got := make(chan nudge, 1000)
	o.nudged = func(from grant.Incarnation, v epoch.Version) { got <- nudge{from, v} }
	tell := func(v epoch.Version) {
		t.Helper()
		eventually(t, "told", func() bool { return p.client.Tell(context.Background(), o.Member, p.me(), v) == nil })
	}
	heard(t, p, o)
	tell(version(1))
	select {
	case first := <-got:
		if want := (nudge{p.me(), version(1)}); first != want {
			t.Errorf("got %v, want %v", first, want)
		}
	case <-time.After(plenty):
		t.Fatal("not told")
	}
	start := time.Now()
	for beat := range uint64(200) {
		tell(version(2 + beat))
		tell(version(1)) // an old one, late
	}
	calls := 0
	for last := (nudge{}); last.v != version(201); calls++ {
		select {
		case last = <-got:
		case <-time.After(plenty):
			t.Fatalf("the newest was not passed on, last %v", last)
		}
	}
	if most := int(time.Since(start)/nudgeEvery) + 2; calls > most {
		t.Errorf("400 requests became %d calls, want %d at most", calls, most)
	}
}

func TestSlowLookIsNotDisturbedByMore(t *testing.T) {
	var mu sync.Mutex
	running, most := 0, 0
	seen := make(chan epoch.Version, 10)
	n := newNudges(func(_ grant.Incarnation, v epoch.Version) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(2 * nudgeEvery)
		mu.Lock()
		running--
		mu.Unlock()
		seen <- v
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go n.run(ctx)
	n.add(look{Version: version(1)})
	eventually(t, "the first call runs", func() bool { mu.Lock(); defer mu.Unlock(); return running == 1 })
	n.add(look{Version: version(3)})
	n.add(look{Version: version(2)})
	if first, second := <-seen, <-seen; first != version(1) || second != version(3) || most != 1 {
		t.Errorf("got %v, %v, %d at once", first, second, most)
	}
}

func TestRequestsThatAreNotUnderstood(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p := newPeer(t, good)
	nudged := make(chan struct{}, 10)
	p.nudged = func(grant.Incarnation, epoch.Version) { nudged <- struct{}{} }
	whole, err := json.Marshal(look{Format: Format, From: p.me(), Version: version(1)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"no_json":      {"POST", pathLook, "look", http.StatusBadRequest},
		"no_format":    {"POST", pathLook, strings.Replace(string(whole), `"format":1`, `"format":0`, 1), http.StatusBadRequest},
		"newer_format": {"POST", pathLook, strings.Replace(string(whole), `"format":1`, `"format":2`, 1), http.StatusBadRequest},
		"nobodys":      {"POST", pathLook, `{"format":1,"version":{"epoch":{"site":1,"local":1},"beat":1}}`, http.StatusBadRequest},
		"no_version":   {"POST", pathLook, strings.Split(string(whole), `,"version"`)[0] + "}", http.StatusBadRequest},
		"too_long":     {"POST", pathLook, strings.Repeat(" ", bodyLimit) + string(whole), http.StatusBadRequest},
		"wrong_method": {"POST", pathStanding, "", http.StatusMethodNotAllowed},
		"unknown_path": {"GET", "/v1/secrets", "", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := p.client.certificates.current()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), plenty)
			defer cancel()
			_, err = newLink().exchange(ctx, target{p.at, p.Host, m}, request{c.method, c.path, []byte(c.body), http.StatusNoContent})
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint(c.want)) {
				t.Errorf("got %v, want %d", err, c.want)
			}
		})
	}
	select {
	case <-nudged:
		t.Error("one of them was passed on")
	case <-time.After(2 * nudgeEvery):
	}
}

func TestConnectionsOfStrangersAreBounded(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	stranger := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	open := func() net.Conn {
		t.Helper()
		conn, err := stranger.Dial("tcp", o.at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	closed := func(conn net.Conn, within time.Duration) bool {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(within))
		_, err := conn.Read(make([]byte, 1))
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}
	start := time.Now()
	var kept []net.Conn
	for range maxPerAddress {
		kept = append(kept, open())
	}
	if !closed(open(), exchangeLimit/2) {
		t.Error("one more than allowed is kept")
	}
	if closed(kept[0], 10*time.Millisecond) && time.Since(start) < exchangeLimit {
		t.Error("one of those allowed was closed")
	}
	heard(t, p, o) // others are not concerned
	for i, conn := range kept {
		if !closed(conn, plenty) {
			t.Fatalf("connection %d says nothing and is kept", i)
		}
	}
	eventually(t, "there is room again", func() bool { return !closed(open(), 100*time.Millisecond) })
}

func TestRefusalsDoNotFloodTheLog(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p := newPeer(t, good)
	// A look whether the port is open is nobody's fault.
	probe, err := net.Dial("tcp", p.at)
	if err != nil {
		t.Fatal(err)
	}
	probe.Close()
	eventually(t, "the look is told of as nothing much", func() bool { return p.log.count(`"level":"DEBUG","msg":"peer went away"`) == 1 })
	for range 30 {
		conn, err := raw(t, p, good, "replication", nil)
		if err == nil {
			_, err = get(conn)
		}
		if err == nil {
			t.Fatal("not refused")
		}
	}
	if got := p.log.count("peer refused"); got != 1 || p.log.count("pgspan_replication") != 1 {
		t.Errorf("told %d times", got)
	}
}

func TestPanicEndsOneAnswer(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	before := o.ask
	o.ask = func() Standing { panic("no") }
	if _, err := p.asks(o); err == nil {
		t.Error("answered")
	}
	o.ask = before
	heard(t, p, o)
	if o.log.count(`"level":"ERROR","msg":"answer to a peer panicked"`) == 0 {
		t.Error("it is not in the log")
	}
}

func TestTakenPortIsTriedAgain(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	ctx, cancel := context.WithCancel(context.Background())
	s := New(Options{Listen: o.at, TLSDir: o.dir, Log: o.log.logger(), Standing: func() Standing { return o.ask() }, Nudge: func(grant.Incarnation, epoch.Version) {}})
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	eventually(t, "it says that the port is taken", func() bool { return o.log.count("peers not served") == 1 })
	o.stop()
	eventually(t, "it has the port", func() bool { return o.log.count("listening for peers") == 1 })
	heard(t, p, o)
	cancel()
	<-done
	if _, err := p.asks(o); err == nil {
		t.Error("it still answers")
	}
}
