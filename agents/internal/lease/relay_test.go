package lease

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// A leader whose pod was deleted by force has no token any more: the store turns it away, and another member can still write.
func TestEndOfAReignIsWrittenByAnotherMember(t *testing.T) {
	leader := newRig(t, Options{})
	leader.store.put(recordOf(me, 3))
	leader.turn(t.Context())
	peer := newRig(t, Options{})
	peer.me = other
	peer.store.put(leader.store.rec)
	peer.store.version = leader.store.version
	peer.turn(t.Context())
	leader.relay = func(ctx context.Context, version string, r record.Record) (string, error) {
		var made string
		err := peer.obey(ctx, order{what: write, version: version, record: r, made: &made})
		return made, err
	}
	leader.store.deaf = true
	if err := leader.obey(t.Context(), order{what: release, final: lsn.LSN(0x5000028), heir: "pvc-b"}); err != nil {
		t.Fatal(err)
	}
	if r := peer.store.rec; !r.Released || r.LSN != 0x5000028 || r.Heir != "pvc-b" || r.Holder != me {
		t.Errorf("written: %+v", r)
	}
	if v := peer.View(); !v.Record.Released || v.Mine {
		t.Errorf("the one that wrote it knows %+v", v)
	}
	if v := leader.View(); !v.Record.Released || v.Deadline != 0 {
		t.Errorf("the leader knows %+v", v)
	}
}

func TestNobodyWritesWhatIsNotTheEndOfTheReign(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rig, *order)
		want   string
	}{
		"renewed_since":       {func(r *rig, _ *order) { r.store.put(recordOf(other, 3)) }, ErrConflict.Error()},
		"not_given_back":      {func(_ *rig, o *order) { o.record.Released = false }, "not the end of the reign"},
		"of_somebody_else":    {func(_ *rig, o *order) { o.record.Holder = me }, "not the end of the reign"},
		"of_another_epoch":    {func(_ *rig, o *order) { o.record.Epoch.Local++ }, "not the end of the reign"},
		"of_another_reign":    {func(_ *rig, o *order) { o.record.Reign = "x" }, "not the end of the reign"},
		"store_gives_no_word": {func(r *rig, _ *order) { r.store.deaf = true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{})
			r.store.put(recordOf(other, 3))
			r.turn(t.Context())
			end := r.store.rec.Clone()
			end.Released = true
			var made string
			o := order{what: write, version: r.View().Version, record: end, made: &made}
			c.change(r, &o)
			if err := r.obey(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) || made != "" || r.store.rec.Released {
				t.Errorf("got %v, %q; the store has %+v", err, made, r.store.rec)
			}
		})
	}
	t.Run("ones_own", func(t *testing.T) {
		r := newRig(t, Options{})
		r.store.put(recordOf(me, 3))
		r.turn(t.Context())
		end := r.store.rec.Clone()
		end.Released = true
		if err := r.obey(t.Context(), order{what: write, version: r.View().Version, record: end}); err == nil || errors.Is(err, ErrStale) {
			t.Errorf("got %v", err)
		}
	})
}

// Where the store has said no, somebody has replaced the record: there is nothing to be written for anybody.
func TestConflictIsNotPassedOn(t *testing.T) {
	r := newRig(t, Options{})
	r.store.put(recordOf(me, 3))
	r.turn(t.Context())
	r.relay = func(context.Context, string, record.Record) (string, error) {
		t.Error("passed on")
		return "", nil
	}
	r.store.put(recordOf(other, 4))
	if err := r.obey(t.Context(), order{what: release}); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
}
