package pg

import (
	"context"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// A receiver that is frozen still "streams"; only what it confirms tells it from one that lives.
func TestFrozenReceiverIsAStragglerAndCanBeEnded(t *testing.T) {
	primary := pgtest.New(t, 17)
	primary.Set("wal_sender_timeout", "0") // nothing else ends it
	primary.Start(t)
	p := observe(t, primary)
	live, frozen := primary.BaseBackup(t), primary.BaseBackup(t)
	for name, r := range map[string]*pgtest.Server{"live": live, "frozen": frozen} {
		r.Set("cluster_name", name) // is the receiver's application_name
		r.Start(t)
	}
	eventually(t, "both stream", p.Senders, func(l []Sender) bool {
		return len(l) == 2 && l[0].State == "streaming" && l[1].State == "streaming"
	})
	ask := func(ctx context.Context) ([]Straggler, error) {
		at, err := p.End(ctx)
		if err != nil {
			return nil, err
		}
		return p.Stragglers(ctx, at)
	}
	eventually(t, "nobody lags", ask, func(l []Straggler) bool { return len(l) == 0 })

	frozen.SQL(t, "DO $$ BEGIN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'cat >/dev/null; kill -STOP ' || (SELECT pid FROM pg_stat_wal_receiver)); END $$")
	primary.SQL(t, "CREATE TABLE more AS SELECT generate_series(1, 1000)")
	lagging := eventually(t, "the frozen one alone lags", ask, func(l []Straggler) bool { return len(l) == 1 })
	if lagging[0].Name != "frozen" || lagging[0].State != "streaming" {
		t.Fatalf("got %+v", lagging)
	}
	if err := p.Terminate(t.Context(), lagging[0].PID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its walsender is gone", p.Senders, func(l []Sender) bool { return len(l) == 1 && l[0].Name == "live" })
	primary.Stop(t) // a fast shutdown, which would wait for it without end
	if _, err := p.End(t.Context()); err == nil {
		t.Error("a server that is down tells the end of its WAL")
	}
}
