package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// leads makes a server that pg_rewind may use as its source, and that others may follow by the socket. Its volume is the pod's.
func (p *pod) leads(major int) *leader { return p.leadsWith(major) }

func (p *pod) leadsWith(major int, opts ...pgtest.Option) *leader {
	p.t.Helper()
	opts = append([]pgtest.Option{pgtest.WithVolume(p.volume), pgtest.WithSetting("wal_keep_size", "256MB")}, opts...) // as in a pod
	l := newLeader(p.t, major, opts...)
	l.WriteHBA(p.t, "local all all trust", "local replication all trust", "hostssl replication pgspan_replication all cert",
		"hostssl all pgspan_rewind all cert map=rewind")
	l.WriteFile(p.t, l.PGDATA()+"/pg_ident.conf", []byte("rewind pgspan_keeper pgspan_rewind\n"), 0o600)
	l.SQL(p.t, `CREATE TABLE marks (m text); CREATE ROLE pgspan_rewind LOGIN; GRANT pg_checkpoint TO pgspan_rewind;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
 pg_read_binary_file(text, bigint, bigint, boolean) TO pgspan_rewind; SELECT pg_reload_conf()`)
	return l
}

// standby makes one of l that streams, on a volume of its own unless told otherwise.
func (l *leader) standby(t *testing.T, opts ...pgtest.Option) *leader {
	t.Helper()
	s := &leader{Server: l.BaseBackup(t, opts...), id: l.id}
	s.bundle = certificates(t, s.Host, time.Now(), 0)
	keys := s.Volume + "/keys"
	for name, content := range s.bundle {
		s.WriteFile(t, keys+"/"+name, content, 0o600)
	}
	s.Set("ssl", "on")
	s.Set("ssl_ca_file", keys+"/ca.crt")
	s.Set("ssl_cert_file", keys+"/server.crt")
	s.Set("ssl_key_file", keys+"/server.key")
	s.Set("wal_level", "logical")
	s.Set("wal_keep_size", "256MB")
	s.Start(t)
	s.WaitSQL(t, "SELECT status FROM pg_stat_wal_receiver", "streaming")
	return s
}

// upTo waits until the standby has replayed all that l has.
func (l *leader) upTo(t *testing.T, of *leader) {
	t.Helper()
	l.WaitSQL(t, "SELECT pg_last_wal_replay_lsn() >= '"+of.SQL(t, "SELECT pg_current_wal_insert_lsn()")+"'", "t")
}

// promote makes a standby the leader of timeline line, with the numbers before it reserved.
func (l *leader) promote(t *testing.T, line int) {
	t.Helper()
	for n := 2; n < line; n++ {
		l.WriteFile(t, fmt.Sprintf("%s/pg_wal/%08X.history", l.PGDATA(), n), nil, 0o600)
	}
	// It does not wait: a session that waits for the promotion has a snapshot, and WAL that still has to be replayed may wait for that.
	l.SQL(t, "SELECT pg_promote(false)")
	l.WaitSQL(t, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)", fmt.Sprintf("%08X", line))
}

// past reads how the leader's timeline came about.
func (l *leader) past(t *testing.T, line uint32) []timeline.Line {
	t.Helper()
	lines, err := timeline.ParseHistory(string(l.ReadFile(t, fmt.Sprintf("%s/pg_wal/%08X.history", l.PGDATA(), line))))
	if err != nil || len(lines) == 0 {
		t.Fatalf("history of timeline %d: %v %v", line, lines, err)
	}
	return lines
}

// write adds rows, each by a commit of its own.
func (l *leader) write(t *testing.T, first, last int) {
	t.Helper()
	var b strings.Builder
	for id := first; id <= last; id++ {
		fmt.Fprintf(&b, "INSERT INTO jobs VALUES (%d);\n", id)
	}
	l.SQL(t, b.String())
}

const mib = 1 << 20

// follows lets the pod follow l, which leads timeline line, in epoch 0.4, and give up as much as is the default.
func (p *pod) follows(l *leader, line uint32, change ...func(*grant.Grant)) {
	p.t.Helper()
	p.replica(l, append([]func(*grant.Grant){func(g *grant.Grant) {
		g.Epoch, g.Timeline, g.MayRewind, g.MaxDiscard = epoch.Epoch{Local: 4}, line, true, 64*mib
		g.MayClone = false
		if line > 1 {
			g.Lines = l.past(p.t.(*testing.T), line)
		}
	}}, change...)...)
}

// wasPrimary notes on the volume what guard does before a promotion.
func (p *pod) wasPrimary(id string, line uint32) {
	p.t.Helper()
	m := notes.Member{Member: p.member(), SystemID: id, Major: p.Major}
	m.Reign(epoch.Epoch{Local: 3}, "third", line)
	p.noted(m)
}

func (p *pod) wasStandby(id string) {
	p.t.Helper()
	p.noted(notes.Member{Member: p.member(), SystemID: id, Major: p.Major, HighestEpoch: epoch.Epoch{Local: 3}, Started: notes.AsStandby})
}

func (p *pod) noted(m notes.Member) {
	p.t.Helper()
	if err := notes.Make(p.paths()); err != nil {
		p.t.Fatal(err)
	}
	if err := notes.WriteMember(p.paths(), m); err != nil {
		p.t.Fatal(err)
	}
	p.Chown(p.t, p.volume, p.uid, p.gid)
}

// rows is all that the table holds, in one line.
const rows = "SELECT count(*), md5(string_agg(id::text, ',' ORDER BY id)) FROM jobs"

// equal starts the pod's server and compares its rows with the leader's, once it has a row that the leader has written after the start.
func (p *pod) equal(l *leader) {
	p.t.Helper()
	s := p.serve()
	s.wait("SELECT status FROM pg_stat_wal_receiver", "streaming")
	mark := filepath.Base(p.dir)
	l.SQL(p.t, "INSERT INTO marks VALUES ('"+mark+"')")
	s.wait("SELECT count(*) FROM marks WHERE m = '"+mark+"'", "1")
	got, err := s.try(rows)
	if want := l.SQL(p.t, rows); err != nil || got != want {
		p.t.Errorf("the rows differ: got %s %v, want %s", got, err, want)
	}
	if entry, err := notes.ReadJournal(p.paths()); entry != nil || err != nil {
		p.t.Errorf("the journal is open: %v %v", entry, err)
	}
	if exists(p.paths().OldData()) || exists(p.paths().NewData()) {
		p.t.Error("pgdata.old or pgdata.new is left")
	}
	s.proc.Kill()
}

// history is what the volume tells people.
func (p *pod) history() string {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.paths().Notes(), "history"))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// fingerprint tells whether anything in the data directory has changed.
func (p *pod) fingerprint() string {
	p.t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(p.paths().Data(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(sum, "%s %d %x\n", path, len(b), sha256.Sum256(b))
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// deposed is a primary whose standby has taken over on timeline 2 while it went on with 100 commits; it was killed then.
func deposed(t *testing.T, major int) (*pod, *leader, *leader) {
	t.Helper()
	root := pgtest.OpenRoot(t, major)
	p := newPod(t, root, "db-primary-0", root.TempDir(t))
	old := p.leads(major)
	l := old.standby(t)
	old.write(t, 2001, 2100)
	l.upTo(t, old)
	l.promote(t, 2)
	old.write(t, 5001, 5100)
	l.write(t, 7001, 7050)
	old.Kill(t)
	p.wasPrimary(old.id, 1)
	return p, old, l
}
