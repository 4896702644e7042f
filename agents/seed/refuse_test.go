package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// cloned is a pod with a good replica on its volume, of a leader that goes on.
func cloned(t *testing.T) (*pod, *leader) {
	t.Helper()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	p.seed()
	return p, l
}

// Each of these keeps the container waiting, with a sentence, and goes on when a person has seen to it.
func TestWhatIsWrongIsRefusedUntilItIsPutRight(t *testing.T) {
	t.Parallel()
	whole, l := cloned(t) // each case repairs what it has spoiled
	for name, tc := range map[string]struct {
		spoil  func(p *pod, l *leader)
		words  string
		repair func(p *pod, l *leader)
	}{
		"foreign_system_id": {
			func(p *pod, l *leader) { p.replica(l, func(g *grant.Grant) { g.SystemID = "7000000000000000001" }) },
			"foreign database",
			func(p *pod, l *leader) { p.replica(l) },
		},
		"newer_timeline_than_the_record": {
			func(p *pod, l *leader) {
				p.WriteFile(p.t, p.volume+"/pgdata/pg_wal/00000002.history", []byte("1\t0/3000000\tno recovery target specified\n"), 0o600)
			},
			"timeline 2, newer than the record's 1",
			func(p *pod, l *leader) { remove(p, p.data("pg_wal/00000002.history")) },
		},
		"record_restored_from_an_old_copy": {
			func(p *pod, l *leader) { p.replica(l, func(g *grant.Grant) { g.Epoch = epoch.Epoch{Local: 2} }) },
			"has seen epoch 0.3",
			func(p *pod, l *leader) { p.replica(l) },
		},
		"volume_of_another_member": {
			func(p *pod, l *leader) {
				p.replica(l, func(g *grant.Grant) { g.Holder = p.holder("pvc-of-somebody-else") })
			},
			"it is a copy",
			func(p *pod, l *leader) { p.replica(l) },
		},
		"tablespace_outside_the_volume": {
			func(p *pod, l *leader) { link(p, "/mnt/fast", p.data("pg_tblspc/16384")) },
			"16384 at /mnt/fast",
			func(p *pod, l *leader) { remove(p, p.data("pg_tblspc/16384")) },
		},
		"other_major_version": {
			func(p *pod, l *leader) { p.WriteFile(p.t, p.volume+"/pgdata/PG_VERSION", []byte("15\n"), 0o600) },
			"was written by PostgreSQL 15 and the image has 17",
			func(p *pod, l *leader) { p.WriteFile(p.t, p.volume+"/pgdata/PG_VERSION", []byte("17\n"), 0o600) },
		},
		"directory_of_another_user": {
			func(p *pod, l *leader) { p.Chown(p.t, p.volume+"/pgdata", 26, 26) },
			"run the pods as user 26",
			func(p *pod, l *leader) { p.Chown(p.t, p.volume+"/pgdata", pgtest.UID, pgtest.GID) },
		},
		"volume_of_another_user": {
			func(p *pod, l *leader) { p.Chown(p.t, p.volume, 26, 26) },
			"run the pods as user 26",
			func(p *pod, l *leader) { p.Chown(p.t, p.volume, pgtest.UID, pgtest.GID) },
		},
		"control_file_destroyed": {
			func(p *pod, l *leader) { rename(p, p.data("global/pg_control"), p.data("global/away")) },
			"control file of the data directory cannot be read",
			func(p *pod, l *leader) { rename(p, p.data("global/away"), p.data("global/pg_control")) },
		},
		"step_of_a_newer_release": {
			func(p *pod, l *leader) {
				p.WriteFile(p.t, p.volume+"/notes/journal", []byte(`{"format": 1, "step": "snapshot", "stage": "began"}`), 0o600)
			},
			"unfinished step that this release cannot finish: snapshot",
			func(p *pod, l *leader) { remove(p, p.paths().Journal()) },
		},
		"notes_of_a_newer_release": {
			func(p *pod, l *leader) {
				p.WriteFile(p.t, p.volume+"/notes/member.json", []byte(`{"format": 9}`), 0o600)
			},
			"used by a newer release",
			func(p *pod, l *leader) { remove(p, p.paths().Member()) },
		},
		"setting_that_is_ours": {
			func(p *pod, l *leader) { p.settings(`  ident: ["pgspan_rewind x y"]` + "\n") },
			"the chart's values cannot be used: postgresql.ident[0]",
			func(p *pod, l *leader) { p.settings("") },
		},
		"settings_of_another_kind": {
			func(p *pod, l *leader) { p.settings("volumeSize: [1]\n") },
			"volumeSize",
			func(p *pod, l *leader) { p.settings("") },
		},
		"checksums_turned_off_for_full_data": {
			func(p *pod, l *leader) { p.settings("  initdb: {walSegmentMB: 64}\n") },
			"walSegmentMB is 64 and the data has 16",
			func(p *pod, l *leader) { p.settings("") },
		},
		"image_without_this_major": {
			func(p *pod, l *leader) {
				p.WriteFile(p.t, p.at("settings/settings.yaml"), []byte("release: db\nmajor: 16\n"), 0o600)
			},
			"no PostgreSQL 16 server in this image (found 17 in ",
			func(p *pod, l *leader) { p.settings("") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := whole.as(t)
			tc.spoil(p, l)
			proc := p.start(seedBinary(t, p.Root))
			p.waitRefused(tc.words)
			tc.repair(p, l)
			if code := proc.Wait(t, patience); code != 0 {
				t.Errorf("exit status %d after the repair", code)
			}
			if n := strings.Count(proc.Stderr(), `"phase":"refused"`); n != 1 {
				t.Errorf("the refusal is logged %d times", n)
			}
		})
	}
	whole.serve().wait("SELECT count(*) FROM jobs", "1000")
}

// pg_promote() by hand on a replica: as soon as the record reaches the same timeline number, nothing but the note tells that its rows are
// others (SAFETY D20).
func TestReplicaThatWasPromotedByHandDoesNotComeBack(t *testing.T) {
	t.Parallel()
	p, l := cloned(t)
	s := p.serve()
	s.wait("SELECT pg_promote()", "t")
	s.wait("SELECT pg_is_in_recovery()", "f")
	if exists(p.data("standby.signal")) {
		t.Error("the server has left standby.signal")
	}
	s.proc.Kill()
	p.start(seedBinary(t, p.Root))
	p.waitRefused("opened for writing on timeline 2 without a grant")
	p.replica(l, func(g *grant.Grant) { g.Epoch.Local, g.Timeline = 4, 2 })
	p.wait("it is judged by the new grant", func(st grant.State) bool {
		return st.Phase == grant.Refused && st.Volume != nil && st.Volume.Timeline == 2
	})
	time.Sleep(3 * time.Second) // a verdict that does not come cannot be waited for; this is more than one look
	p.waitRefused("opened for writing on timeline 2 without a grant")
	if exists(p.data("standby.signal")) {
		t.Error("the mark is gone")
	}
}

func TestCertificatesThatAreWrongAreRefusedUntilTheSecretIsPutRight(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		spoil func(l *leader) map[string][]byte
		words string
	}{
		"mismatched_key_pair_is_refused": {
			func(l *leader) map[string][]byte { return map[string][]byte{"server.key": l.bundle["replication.key"]} }, "server.key",
		},
		"expired_certificate_is_refused": {
			func(l *leader) map[string][]byte {
				old := certificates(t, l.Host, now.Add(-60*24*time.Hour), 30*24*time.Hour)
				return map[string][]byte{"ca.crt": old["ca.crt"], "server.crt": old["server.crt"], "server.key": old["server.key"]}
			}, "expired",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := pgtest.OpenRoot(t, 17)
			l := newLeader(t, 17)
			p := newPod(t, root, "db-replica-0", root.TempDir(t))
			p.replica(l)
			p.secret(tc.spoil(l))
			proc := p.start(seedBinary(t, root))
			p.waitRefused(tc.words)
			p.secret(l.bundle)
			if code := proc.Wait(t, patience); code != 0 {
				t.Errorf("exit status %d after the repair", code)
			}
		})
	}
}

// The leader's certificate is not for the host that the grant names: nothing is sent to it.
func TestLeaderWithTheWrongNameIsNotClonedFrom(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l, func(g *grant.Grant) { g.Upstream.Host = "db-primary-0.elsewhere" })
	p.start(seedBinary(t, root))
	p.wait("the refusal of TLS is told", func(s grant.State) bool {
		return s.Phase == grant.Waiting && strings.Contains(s.Reason, "does not match host name")
	})
}

// A clone of a foreign database is thrown away before it takes the place of the right one.
func TestCloneOfAForeignDatabaseIsNotPutInPlace(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l, func(g *grant.Grant) { g.SystemID = "7000000000000000001" })
	p.start(seedBinary(t, root))
	p.wait("it is told", func(s grant.State) bool { return strings.Contains(s.Reason, "holds the foreign database "+l.id) })
	if exists(p.paths().Data()) {
		t.Error("the foreign database is in place")
	}
}

func TestInitdbIsRefusedWhereADatabaseWasNoted(t *testing.T) {
	t.Parallel()
	p, _ := cloned(t)
	if err := os.Rename(p.paths().Data(), p.paths().Root()+"/lost"); err != nil {
		t.Fatal(err)
	}
	p.bootstrap(func(g *grant.Grant) { g.Epoch.Local = 4 })
	p.start(seedBinary(t, p.Root))
	p.waitRefused("an empty directory is no proof of a new database")
	if exists(p.paths().NewData()) || exists(p.paths().Data()) {
		t.Error("initdb was begun")
	}
}

// A uid that no passwd file knows: the one that -install writes is mounted over the image's.
func TestUnknownUserWithTheInstalledPasswdFile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, root *pgtest.Root) {
		const uid = 1000660000
		p := newPod(t, root, "db-primary-0", root.TempDir(t))
		p.uid, p.gid = uid, 0 // as OpenShift does it: a random user of group 0
		p.bootstrap()
		bin := root.TempDir(t)
		root.Chown(t, bin, uid, 0)
		binary := installed(t, root)
		if _, err := root.Run(pgtest.Command{Path: binary, Args: []string{"-install", bin}, UID: uid}); err != nil {
			t.Fatal(err)
		}
		proc := root.Start(t, pgtest.Command{Path: bin + "/seed", Env: p.environment(), UID: uid, Binds: map[string]string{"/etc/passwd": bin + "/passwd"}})
		if code := proc.Wait(t, patience); code != 0 {
			t.Fatalf("exit status %d\n%s", code, proc.Stderr())
		}
		p.serve().wait("SELECT rolname FROM pg_roles WHERE rolsuper", "postgres")
	})
}

func TestUnknownUserWithoutAPasswdFileIsToldWhatInitdbSays(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-primary-0", root.TempDir(t))
	p.uid, p.gid = 1000660000, 0
	p.bootstrap()
	p.start(seedBinary(t, root))
	p.wait("the reason is told", func(s grant.State) bool { return strings.Contains(s.Reason, "could not look up effective user ID") })
}

// installed puts seed and guard side by side, as the agents image has them.
func installed(t *testing.T, root *pgtest.Root) string {
	t.Helper()
	dir := root.TempDir(t)
	for _, name := range []string{"seed", "guard"} {
		content, err := os.ReadFile(pgtest.Build(t, "./agents/"+name))
		if err != nil {
			t.Fatal(err)
		}
		root.WriteFile(t, dir+"/"+name, content, 0o755)
	}
	chmod(t, root.Outside(dir), 0o755)
	return dir + "/seed"
}

func TestInstallIsRepeatable(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	binary, bin := installed(t, root), root.TempDir(t)
	for range 2 {
		if _, err := root.Run(pgtest.Command{Path: binary, Args: []string{"-install", bin}}); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(root.Outside(bin))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "group guard passwd seed" {
		t.Errorf("got %s, %v", got, err)
	}
	if got := string(root.ReadFile(t, bin+"/passwd")); !strings.Contains(got, "postgres:x:999:999:") {
		t.Errorf("passwd: %s", got)
	}
	for _, name := range []string{"seed", "guard"} {
		if info, err := os.Stat(filepath.Join(root.Outside(bin), name)); err != nil || info.Mode() != 0o755 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestAllProblemsOfTheEnvironmentAtOnce(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	_, err := root.Run(pgtest.Command{Path: seedBinary(t, root), Env: []string{"PGSPAN_VOLUME=data", "PGSPAN_BORN_AS=master"}})
	for _, want := range []string{"exit status 1", "PGSPAN_VOLUME", "PGSPAN_BORN_AS", "PGSPAN_POD_NAME", "PGSPAN_POD_UID"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %s in %v", want, err)
		}
	}
}

func (p *pod) holder(member string) grant.Incarnation {
	p.grant(grant.Grant{Role: grant.Wait})
	g, err := grant.Read(p.Outside(p.at("control")))
	if err != nil {
		p.t.Fatal(err)
	}
	g.Holder.Member = member
	return g.Holder
}

func link(p *pod, target, at string) {
	p.t.Helper()
	if err := os.Symlink(target, at); err != nil {
		p.t.Fatal(err)
	}
}

func remove(p *pod, path string) {
	p.t.Helper()
	if err := os.Remove(path); err != nil {
		p.t.Fatal(err)
	}
}

func rename(p *pod, from, to string) {
	p.t.Helper()
	if err := os.Rename(from, to); err != nil {
		p.t.Fatal(err)
	}
}

// The history tells what was done to the volume, in order.
func TestHistoryOfTheVolume(t *testing.T) {
	t.Parallel()
	p, l := cloned(t)
	text := string(p.ReadFile(t, p.volume+"/notes/history"))
	begun, done := strings.Index(text, `"what":"`+notes.StepClone+` begun"`), strings.Index(text, `"what":"clone done"`)
	if begun < 0 || done < begun || !strings.Contains(text, l.id) || !strings.Contains(text, `"from":"db-primary-0"`) {
		t.Errorf("history:\n%s", text)
	}
}
