package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgspan/pgspan/test/cluster"
)

const (
	namespace = "soak"
	release   = "db"
)

// soak is one run.
type soak struct {
	o       options
	lab     string
	site    *cluster.Site
	began   time.Time
	mode    string
	workMem int
	app     cluster.App
}

func (s *soak) install(ctx context.Context) error {
	if err := s.site.Namespace(ctx, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		return err
	}
	s.mode, s.workMem = modeAsync, 4
	if err := s.helm(ctx); err != nil {
		return err
	}
	c, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	address, err := s.site.Address(c, namespace, release+"-rw")
	if err != nil {
		return err
	}
	if s.app, err = s.site.App(c, namespace, release+"-app-app", release+"-rw", address); err != nil {
		return err
	}
	return s.whole(c, false)
}

// helm installs the release, or changes its mode and its setting.
func (s *soak) helm(ctx context.Context) error {
	mode := map[string]string{modeAsync: "off", modeAny: "any", modeStrict: "strict"}[s.mode]
	args := []string{"upgrade", "--install", release, filepath.Join(s.o.root, "charts", "pgspan"), "--namespace", namespace, "--kube-context", s.site.Name, "--kubeconfig", s.o.kubeconfig,
		"-f", filepath.Join(s.o.root, "test", "e2e", "values.yaml"), "--set-string", "synchronous.mode=" + mode, "--set", "synchronous.number=1,replicas=2,probe.every=2s",
		"--set-string", fmt.Sprintf("postgresql.parameters.work_mem=%dMB", s.workMem)}
	if s.o.tag != "" {
		args = append(args, "--set-string", "agents.image.tag="+s.o.tag+",database.image.tag=17-"+s.o.tag)
	}
	if out, err := exec.CommandContext(ctx, "helm", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("helm upgrade: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// become switches the mode and waits until the server goes by it.
func (s *soak) become(ctx context.Context, mode string) error {
	s.mode = mode
	if err := s.helm(ctx); err != nil {
		return err
	}
	// Kubelet brings a changed ConfigMap within a minute or more, or when its pod changes.
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	patch := []byte(fmt.Sprintf(`{"metadata":{"annotations":{"soak/nudge":"%d"}}}`, time.Now().UnixNano()))
	for _, p := range pods {
		if _, err := s.site.Client.CoreV1().Pods(namespace).Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("nudge %s: %w", p.Name, err)
		}
	}
	return cluster.Wait(ctx, "the server waits as mode "+mode+" says", func(ctx context.Context) (bool, string, error) {
		m, err := s.meet(ctx, "leader")
		if err != nil {
			return false, "", err
		}
		got, err := s.site.SQL(ctx, namespace, m.pod, "select current_setting('synchronous_standby_names'), (select count(*) from pg_stat_replication where sync_state = 'quorum')")
		if mode == modeAsync {
			return err == nil && strings.HasPrefix(got, "|"), got, err
		}
		return err == nil && strings.HasPrefix(got, "ANY 1") && strings.HasSuffix(got, "|2"), got, err
	})
}

// remove takes the release and its namespace away.
func (s *soak) remove(ctx context.Context) error {
	err := s.site.Client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{})
	if err != nil {
		return fmt.Errorf("remove the namespace: %w", err)
	}
	return cluster.Wait(ctx, "the namespace is gone", func(ctx context.Context) (bool, string, error) {
		list, err := s.site.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + namespace})
		return err == nil && len(list.Items) == 0, "still there", err
	})
}

// evidence keeps what is needed to understand a failure: every container's log, the events and the record, in dist/soak/<name>.
func (s *soak) evidence(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	dir := filepath.Join(s.o.root, "dist", "soak", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.say("  no evidence kept: %v", err)
		return
	}
	keep := func(file string, words ...string) {
		words = append([]string{"--kubeconfig", s.o.kubeconfig, "--context", s.site.Name, "--namespace", namespace, "--request-timeout", "5s"}, words...)
		out, err := exec.CommandContext(ctx, "kubectl", words...).CombinedOutput()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), out, 0o644)
		}
		if err != nil {
			s.say("  not kept: %s: %v", file, err)
		}
	}
	keep("objects.yaml", "get", "lease,pods,endpointslices", "-o", "yaml")
	keep("events.txt", "get", "events", "--sort-by=.lastTimestamp")
	pods, err := s.pods(ctx)
	if err != nil {
		s.say("  no logs kept: %v", err)
	}
	for _, p := range pods {
		for _, c := range []string{"keeper", "seed", "postgres"} {
			keep(p.Name+"-"+c+".log", "logs", p.Name, "-c", c)
		}
	}
	s.say("  evidence is in %s", dir)
}

// sums is of all rows that clients made.
const sums = `select md5(coalesce(string_agg(t.line, ',' order by t.line), '')) as s from (
	select 'w' || id as line from soak_writes union all select 'r' || key || ':' || value from soak_registers) t`

// whole waits until one member writes, two stream, no step is open and, once nobody writes any more, all have the same rows.
func (s *soak) whole(ctx context.Context, quiet bool) error {
	return cluster.Wait(ctx, "the release is whole", func(ctx context.Context) (bool, string, error) {
		pods, err := s.pods(ctx)
		if err != nil {
			return false, "", err
		}
		writable, at, seen := 0, "", map[string]bool{}
		for _, p := range pods {
			got, err := s.site.SQL(ctx, namespace, p.Name, `select case when pg_is_in_recovery() then 'no' else pg_current_wal_flush_lsn() || ' ' ||
				(select count(*) from pg_stat_replication where state = 'streaming') end`)
			if err != nil {
				return false, p.Name, err
			}
			if got != "no" {
				writable++
				at = got
			}
		}
		lsn, streaming, _ := strings.Cut(at, " ")
		if len(pods) != 3 || writable != 1 || streaming != "2" {
			return false, fmt.Sprintf("%d pods, %d writable, %s streaming", len(pods), writable, streaming), nil
		}
		for _, p := range pods {
			got, err := s.site.SQL(ctx, namespace, p.Name, "select not pg_is_in_recovery() or pg_last_wal_replay_lsn() >= '"+lsn+"'")
			if err != nil || got != "t" {
				return false, p.Name + " has not replayed all", err
			}
			open, err := s.site.Exec(ctx, namespace, p.Name, "postgres", "sh", "-c", "cd /var/lib/pgspan && ls -d notes/journal pgdata.new pgdata.old 2>/dev/null || true")
			if err != nil || open != "" {
				return false, p.Name + " has " + strings.TrimSpace(open), err
			}
		}
		if !quiet {
			return true, "", nil
		}
		for _, p := range pods {
			got, err := s.site.Exec(ctx, namespace, p.Name, "postgres", "psql", "-h", "/pgspan/socket", "-U", "postgres", "-XAtqd", s.app.Database, "-c",
				"select case when to_regclass('soak_writes') is null then 'none' else (xpath('/row/s/text()', query_to_xml($q$"+sums+"$q$, false, true, '')))[1]::text end")
			if err != nil {
				return false, p.Name, err
			}
			seen[got] = true
		}
		return len(seen) == 1, fmt.Sprintf("%d different contents", len(seen)), nil
	})
}
