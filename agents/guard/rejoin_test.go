package main

import (
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// A primary whose container is killed while another member has taken over comes back by itself, in its own container, when it is told whom
// to follow.
func TestDeposedPrimaryComesBack(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-0", root.TempDir(t))
	p.bootstrap()
	p.sql(`CREATE ROLE pgspan_replication LOGIN REPLICATION; CREATE ROLE pgspan_rewind LOGIN; GRANT pg_checkpoint TO pgspan_rewind;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
 pg_read_binary_file(text, bigint, bigint, boolean) TO pgspan_rewind; CREATE TABLE kept AS SELECT 1 AS n`)
	r := newPod(t, root, "db-1", root.TempDir(t))
	r.copyCertificates(p)
	r.order(func(g *grant.Grant) {
		g.Role, g.MayClone, g.Epoch, g.Timeline, g.SystemID, g.Reason = grant.Replica, true, p.grant.Epoch, 1, p.grant.SystemID, "follows"
		g.Upstream = &grant.Upstream{Member: p.member, Name: "db-0", Host: "db-rw.default.svc.cluster.local", Address: "127.0.0.1", Port: p.port}
		g.SyncName = "db-1"
	})
	r.start()
	r.waitRunning(grant.Standby)
	eventually(t, "the row arrives", func() bool { got, err := r.trySQL("SELECT count(*) FROM kept"); return err == nil && got == "1" })

	r.orderPrimary(2, 2)
	r.waitRunning(grant.Writable)
	p.sql("INSERT INTO kept SELECT generate_series(1001, 1100)") // nobody else has these
	r.sql("INSERT INTO kept SELECT generate_series(2001, 2100)")
	p.proc.Kill()
	lines, err := timeline.ParseHistory(string(r.ReadFile(t, r.volume+"/pgdata/pg_wal/00000002.history")))
	if err != nil {
		t.Fatal(err)
	}
	p.order(func(g *grant.Grant) {
		g.Role, g.Epoch, g.Timeline, g.Reason = grant.Replica, epoch.Epoch{Local: 2}, 2, "follows"
		g.Upstream = &grant.Upstream{Member: r.member, Name: "db-1", Host: "db-rw.default.svc.cluster.local", Address: "127.0.0.1", Port: r.port}
		g.SyncName, g.Lines, g.MayRewind, g.MaxDiscard = "db-0", lines, true, 64<<20
	})
	p.start()
	eventually(t, "it streams from the other", func() bool {
		got, err := r.trySQL("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = 'db-0'")
		return err == nil && got == "1"
	})
	r.sql("INSERT INTO kept VALUES (3000)")
	const rows = "SELECT count(*), md5(string_agg(n::text, ',' ORDER BY n)) FROM kept"
	want := r.sql(rows)
	eventually(t, "it has the same rows", func() bool { got, err := p.trySQL(rows); return err == nil && got == want })
	p.waitRunning(grant.Standby)
	if said := p.proc.Stderr(); !strings.Contains(said, `"do":"rewind"`) {
		t.Errorf("it was not rewound:\n%s", said)
	}
	if e, err := notes.ReadJournal(p.paths()); e != nil || err != nil {
		t.Errorf("the journal is open: %v %v", e, err)
	}
}
