package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

func TestPostDockEnvironmentBootsAReplica(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, root *pgtest.Root) {
		l := newLeader(t, root.Major)
		p := newPod(t, root, "db-node-2", root.TempDir(t))
		p.secret(l.bundle)
		remove(p, p.Outside(p.at("settings/settings.yaml")))
		p.env = []string{
			"PGSPAN_STANDALONE=true", "CLUSTER_NAME=pg_cluster", "NODE_NAME=db-node-2", "CLUSTER_NODE_NETWORK_NAME=10.0.0.2", "PARTNER_NODES=db-node-1,db-node-2",
			"REPLICATION_PRIMARY_HOST=" + l.Host, "REPLICATION_PRIMARY_PORT=" + strconv.Itoa(l.Port), "REPLICATION_PASSWORD=replication_pass",
			"CONFIGS=work_mem:7MB;max_connections:90;listen_addresses:'*';search_path:'a,b'", "CONFIGS_DELIMITER_SYMBOL=;", "USE_REPLICATION_SLOTS=1",
		}
		proc := p.seed()
		for _, want := range []string{"PARTNER_NODES has no effect", "REPLICATION_PASSWORD has no effect", "USE_REPLICATION_SLOTS has no effect", "running without keeper"} {
			if !strings.Contains(proc.Stderr(), want) {
				t.Errorf("no sentence %q in the log", want)
			}
		}
		if strings.Contains(proc.Stderr(), "replication_pass") {
			t.Error("a password is in the log")
		}
		if note := p.note(); note.Member != "node-1002" {
			t.Errorf("member %s, want node-1002", note.Member)
		}
		s := p.serve()
		s.wait("SHOW work_mem", "7MB")
		s.wait("SHOW search_path", "a,b")
		l.SQL(t, "INSERT INTO jobs VALUES (1001)")
		s.wait("SELECT max(id) FROM public.jobs", "1001")
		l.WaitSQL(t, "SELECT application_name FROM pg_stat_replication", "node_1002")
	})
}

// PostDock starts a primary when nobody answers. Without a lease that is how two primaries come about.
func TestPostDockEnvironmentDoesNotMakeAPrimary(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-node-1", root.TempDir(t))
	p.env = []string{"PGSPAN_STANDALONE=true", "NODE_NAME=db-node-1", "PARTNER_NODES=db-node-1,db-node-2"}
	proc := p.start(seedBinary(t, root))
	if code := proc.Wait(t, patience); code != 1 || !strings.Contains(proc.Stderr(), "without keeper nobody asks PARTNER_NODES") {
		t.Errorf("exit status %d\n%s", code, proc.Stderr())
	}
	if exists(p.paths().Data()) {
		t.Error("there is a data directory")
	}
}

// In a pod of the chart only CONFIGS counts: who is primary is keeper's to say.
func TestPostDockEnvironmentInAPodWithKeeper(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	l := newLeader(t, 17)
	p := newPod(t, root, "db-replica-0", root.TempDir(t))
	p.replica(l)
	p.env = []string{"CONFIGS=work_mem:7MB,fsync:off", "REPLICATION_PRIMARY_HOST=192.0.2.1"}
	proc := p.start(seedBinary(t, root))
	p.waitRefused("postgresql.parameters.fsync cannot be set")
	proc.Kill()
	p.env[0] = "CONFIGS=work_mem:7MB"
	p.seed()
	p.serve().wait("SHOW work_mem", "7MB")
	if s, err := grant.ReadState(p.Outside(p.at("control"))); err != nil || s.Plan != "keep" {
		t.Errorf("state: %+v %v", s, err)
	}
}
