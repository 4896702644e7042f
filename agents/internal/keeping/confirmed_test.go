package keeping

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// shelf is a store of one record, whose writes can be refused without a word.
type shelf struct {
	text    string
	version int
	deaf    bool
}

func (s *shelf) Get(context.Context) (r record.Record, version string, err error) {
	if err := json.Unmarshal([]byte(s.text), &r); err != nil {
		return r, "", err
	}
	return r, fmt.Sprint(s.version), nil
}

func (s *shelf) Create(ctx context.Context, r record.Record) (string, error) {
	return s.Replace(ctx, fmt.Sprint(s.version), r)
}

func (s *shelf) Replace(_ context.Context, version string, r record.Record) (string, error) {
	switch {
	case s.deaf:
		return "", context.DeadlineExceeded
	case version != fmt.Sprint(s.version):
		return "", lease.ErrConflict
	}
	s.put(r)
	return fmt.Sprint(s.version), nil
}

func (s *shelf) put(r record.Record) {
	s.text, _ = r.Text()
	s.version++
}

// A keeper process has died with a write in flight, which lists a third member and takes the second out of the synchronous set. The next process
// has a right that it adopts, and a record that it has only read: until the store has confirmed a write of its own, that write may still land, so
// neither may the two listed members promise for three, nor may whom commits wait for be compared with what the record says (SAFETY D3, rule 11).
func TestNothingIsDecidedByARecordThatWasOnlyRead(t *testing.T) {
	clock := start
	held := record.Record{
		Format: record.Format, Holder: me, Epoch: at(3), Timeline: 3, Reign: "x", Beat: 9, Duration: record.Duration(8 * time.Second), FenceAfter: record.Duration(5 * time.Second),
		Members: []record.Member{{ID: me.Member}, {ID: "pvc-b"}}, Sync: &record.Sync{K: 1, Members: []string{"pvc-b", "pvc-c"}},
	}
	store := &shelf{}
	store.put(held)
	store.deaf = true
	l := lease.New(lease.Options{
		Store: store, Me: me, Timing: lease.Timing{Duration: 8 * time.Second, FenceAfter: 5 * time.Second, Renew: time.Second}, Adopted: clock.Add(4 * time.Second),
		Now: func() boottime.Instant { return clock },
	})
	flushed := lsn.LSN(1)
	n := known{state: &grant.State{Server: grant.Writable}, status: &pg.Status{Flushed: &flushed}, statusAt: clock}
	l.ByHand().Turn(t.Context())
	if v := l.View(); !v.InForce(clock) || v.Problem == "" {
		t.Fatalf("the adopted right does not stand: %+v", v)
	}
	if _, may := pleads(l.View(), nil, clock); may {
		t.Error("the others are asked to hold still for a list that may not be the newest: who is missing in it may take the record")
	}
	if n.writes(l.View(), clock) {
		t.Error("the synchronous set is judged by a promise that may not be the newest")
	}

	// The write of before lands. Now the store answers again.
	late := held.Clone()
	late.Beat, late.Members, late.Sync = 10, append(late.Members, record.Member{ID: "pvc-c"}), &record.Sync{K: 1, Members: []string{"pvc-b"}}
	store.put(late)
	store.deaf = false
	l.ByHand().Turn(t.Context())
	if v := l.View(); !v.Confirmed() || len(v.Record.Members) != 3 || !n.writes(v, clock) {
		t.Errorf("confirmed: got %+v", v)
	}
	store.deaf = true
	l.ByHand().Turn(t.Context())
	v := l.View()
	if _, may := pleads(v, nil, clock); !may || len(v.Record.Members) != 3 {
		t.Errorf("a leader that has written and cannot any more asks nobody: %+v", v)
	}
	clock = clock.Add(time.Hour)
	if _, may := pleads(l.View(), nil, clock); may || n.writes(l.View(), clock) {
		t.Error("a right that has ended counts")
	}
}

// A container that starts anew counts its process ids from the beginning, and keeper may not have seen the moment without a server.
func TestAnotherServerWithTheSameProcessIDIsNotCovered(t *testing.T) {
	first := grant.State{Format: grant.Format, Pod: "pod", Server: grant.Writable, LastPID: 40, Began: start}
	next := first
	next.Began = start.Add(time.Second)
	v := lease.View{Record: record.Record{Reign: "x", Sync: &record.Sync{K: 1, Members: []string{"b"}}}}
	k := &Keeper{}
	n := known{state: &first, covered: lifeOf(first, v.Record)}
	if !k.covered(n, v) {
		t.Fatal("the server that was found covered is not")
	}
	if n.state = &next; k.covered(n, v) {
		t.Error("a server that was restarted under the same process id is published before what it began with is safe")
	}
	n.state, v.Record.Reign = &first, "y"
	if k.covered(n, v) {
		t.Error("another reign's server is published")
	}

	// A server of an older guard tells no instant: its end is seen, at least.
	k = &Keeper{o: Options{Control: t.TempDir(), PodUID: "pod"}, log: slog.New(slog.DiscardHandler), observeWake: newWake(), publishWake: newWake(), handWake: newWake()}
	first.Began, v.Record.Reign = 0, "x"
	k.known.covered = lifeOf(first, v.Record)
	for _, s := range []grant.Server{grant.Down, grant.Writable} {
		state := first
		state.Server = s
		if err := grant.WriteState(k.o.Control, state); err != nil {
			t.Fatal(err)
		}
		k.readState()
	}
	if k.covered(k.look(), v) {
		t.Error("a server that was down in between is published before what it began with is safe")
	}
}

func TestRefusalIsTimedWithoutInterruption(t *testing.T) {
	k := &Keeper{o: Options{Control: t.TempDir(), PodUID: "pod"}, log: slog.New(slog.DiscardHandler), observeWake: newWake(), publishWake: newWake(), handWake: newWake()}
	for _, c := range []struct {
		phase grant.Phase
		set   bool
	}{{grant.Waiting, false}, {grant.Refused, true}, {grant.Refused, true}, {grant.Starting, false}} {
		if err := grant.WriteState(k.o.Control, grant.State{Format: grant.Format, Pod: "pod", Phase: c.phase}); err != nil {
			t.Fatal(err)
		}
		before := k.look().refusedSince
		k.readState()
		if got := k.look().refusedSince; (got != 0) != c.set || before != 0 && c.set && got != before {
			t.Errorf("%s: got %v after %v", c.phase, got, before)
		}
	}
}
