package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// pgspan is our own product: the chart with its defaults and three members, without pgpool.
type pgspan struct{ place }

const release = "db"

func newPgspan(s *cluster.Site, kubeconfig, root, tag string) *pgspan {
	return &pgspan{place{
		s: s, namespace: "bench-ours", selector: "pgspan.io/cluster=db,app.kubernetes.io/component=database", container: "postgres",
		psql: []string{"psql", "-h", "/pgspan/socket", "-U", "postgres", "-d", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c"},
		data: "/var/lib/pgspan/pgdata", service: "db-rw", root: root, kubeconfig: kubeconfig, imageTag: tag,
	}}
}

func (p *pgspan) install(ctx context.Context) error {
	if err := p.fresh(ctx, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		return err
	}
	return p.helm(ctx, "off")
}

// helm installs the release or changes its mode.
func (p *pgspan) helm(ctx context.Context, mode string) error {
	args := []string{"upgrade", "--install", release, filepath.Join(p.root, "charts", "pgspan"), "--namespace", p.namespace, "--kube-context", p.s.Name,
		"-f", filepath.Join(p.root, "test", "bench", "failover", "values.yaml"), "--set-string", "synchronous.mode=" + mode}
	if p.imageTag != "" {
		args = append(args, "--set-string", "agents.image.tag="+p.imageTag+",database.image.tag=17-"+p.imageTag)
	}
	return p.run(ctx, nil, "helm", args...)
}

// uninstall removes the namespace and all in it.
func (p *pgspan) uninstall(ctx context.Context) error { return p.gone(ctx) }

// configure switches synchronous mode. The pods see new settings when Kubernetes brings them the ConfigMap, within about a minute; the server's
// list says when it is so.
func (p *pgspan) configure(ctx context.Context, _, mode string) error {
	value := "off"
	if mode == modeSync {
		value = "any"
	}
	in := func(ctx context.Context) (bool, string, error) {
		st, err := p.look(ctx)
		if err != nil {
			return false, "", err
		}
		lead, ok := st.primary()
		if !ok {
			return false, "nobody leads", nil
		}
		list, err := p.sql(ctx, lead.name, "show synchronous_standby_names")
		return err == nil && waitsAs(mode, list), list, err
	}
	if now, _, err := in(ctx); err == nil && now {
		return nil
	}
	if err := p.helm(ctx, value); err != nil {
		return err
	}
	return cluster.Wait(ctx, "the server waits as mode "+mode+" says", in)
}

// waitsAs reports whether a server's list is that of a mode. One that nobody can meet belongs to a change that is under way.
func waitsAs(mode, list string) bool {
	if mode == modeSync {
		return strings.HasPrefix(list, "ANY 1 (") && !strings.Contains(list, "pgspan_nobody")
	}
	return list == ""
}

// handOver gives the order to a keeper that will not go away by it.
func (p *pgspan) handOver(ctx context.Context, primary string) error {
	pods, err := p.s.Pods(ctx, p.namespace, p.selector)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		if pod.Name == primary || !cluster.Ready(pod) {
			continue
		}
		_, err := p.s.Exec(ctx, p.namespace, pod.Name, "keeper", "role", "--keepers", "db-members."+p.namespace+".svc.cluster.local:8009", "switchover", "--wait=false")
		return err
	}
	return fmt.Errorf("no keeper to give the order to")
}

// reign is the epoch of the record.
func (p *pgspan) reign(ctx context.Context, _ string) (int, error) {
	l, err := p.s.Client.CoordinationV1().Leases(p.namespace).Get(ctx, release, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	return epochOf(l.Annotations["pgspan.io/record"])
}

func epochOf(text string) (int, error) {
	var record struct{ Epoch struct{ Local int } }
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return 0, fmt.Errorf("read the record: %w", err)
	}
	if record.Epoch.Local == 0 {
		return 0, fmt.Errorf("read the record: it has no epoch")
	}
	return record.Epoch.Local, nil
}

func (p *pgspan) client(ctx context.Context) (cluster.App, error) {
	var app cluster.App
	err := cluster.Wait(ctx, "the application's Secret is there", func(ctx context.Context) (bool, string, error) {
		var err error
		app, err = p.s.App(ctx, p.namespace, "db-app-app", p.service, "")
		return err == nil, "", err
	})
	app.Name = "writer"
	return app, err
}

func (p *pgspan) version(context.Context, string) (string, error) {
	return "pgspan " + p.imageTag, nil
}

// patience bounds an install, a change of mode, and the wait until a product is whole.
const patience = 5 * time.Minute
