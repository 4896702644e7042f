package peers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

func TestOneOfAllWritesForALeader(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	leader, able, unable := newPeer(t, good), newPeer(t, good), newPeer(t, good)
	leader.knows(able, unable)
	end := record.Record{Format: 1, Holder: leader.me(), Epoch: epoch.Epoch{Site: 1, Local: 7}, Released: true, LSN: 0x5000028,
		Members: []record.Member{leader.Member, able.Member, unable.Member}}
	leader.relay = func(context.Context, string, record.Record) (string, error) {
		t.Error("the leader asked itself")
		return "", nil
	}
	var got record.Record
	able.relay = func(_ context.Context, version string, r record.Record) (string, error) {
		got = r
		return version + "+1", nil
	}
	unable.relay = func(context.Context, string, record.Record) (string, error) {
		return "", errors.New("no answer either")
	}
	made, err := leader.client.Relay(context.Background(), end.Members, "41", end)
	if err != nil || made != "41+1" || got.LSN != end.LSN || !got.Released || got.Holder != end.Holder {
		t.Errorf("got %q, %v; written %+v", made, err, got)
	}
	for n := range uint32(6000) { // changes of leaders: more than an annotation of the Lease could hold
		end.Lines = append(end.Lines, timeline.Line{Timeline: n + 1, End: lsn.LSN(n) << 24})
	}
	if _, err := leader.client.Relay(context.Background(), end.Members, "42", end); err != nil || len(got.Lines) != 6000 {
		t.Errorf("with a long past: %v, %d lines", err, len(got.Lines))
	}
	end.Lines = nil
	able.relay = nil
	if _, err := leader.client.Relay(context.Background(), end.Members, "41", end); err == nil || !strings.Contains(err.Error(), able.Pod) || !strings.Contains(err.Error(), unable.Pod) {
		t.Errorf("nobody could: %v", err)
	}
	for name, change := range map[string]func(*Last){
		"no_version":       func(l *Last) { l.Version = "" },
		"no_holder":        func(l *Last) { l.Record.Holder.Boot = "" },
		"not_given_back":   func(l *Last) { l.Record.Released = false },
		"in_another_words": func(l *Last) { l.Format = Format + 1 },
	} {
		l := Last{Format: Format, Version: "41", Record: end}
		if change(&l); l.validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
