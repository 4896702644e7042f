package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // patroni.yaml
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

//go:embed patroni.yaml
var patroniManifest string

// patroni is the peer. One cluster serves both of its arms: what differs between them is its dynamic configuration, which it takes up live.
type patroni struct {
	place
	// like are settings of PostgreSQL that it shall have as the other product has them.
	like func(context.Context) (map[string]string, error)

	superuser, app cluster.App
}

func newPatroni(s *cluster.Site, kubeconfig, root, tag string, like func(context.Context) (map[string]string, error)) *patroni {
	return &patroni{like: like, place: place{
		s: s, namespace: "bench-patroni", selector: "application=patroni,cluster-name=db", container: "patroni",
		psql: []string{"psql", "-h", "/var/run/postgresql", "-U", "postgres", "-d", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c"},
		data: "/data/pgdata", service: "db", root: root, kubeconfig: kubeconfig, imageTag: tag,
	}}
}

func (p *patroni) install(ctx context.Context) error {
	parameters, err := p.like(ctx)
	if err != nil {
		return err
	}
	if err := p.fresh(ctx, nil); err != nil {
		return err
	}
	host := p.service + "." + p.namespace + ".svc"
	cert, key, err := selfSigned(host, time.Now())
	if err != nil {
		return err
	}
	p.app = cluster.App{Host: host, User: "app", Password: rand.Text(), Database: "app", CA: cert, Name: "writer"}
	p.superuser = cluster.App{Host: host, User: "postgres", Password: rand.Text(), Database: "postgres", CA: cert, Name: "bench"}
	text, err := render(patroniManifest, map[string]any{
		"Superuser": p.superuser.Password, "Replication": rand.Text(), "App": p.app.Password, "Tag": p.imageTag, "Parameters": parameters,
		"Certificate": base64.StdEncoding.EncodeToString(cert), "Key": base64.StdEncoding.EncodeToString(key),
	})
	if err != nil {
		return err
	}
	if err := p.apply(ctx, text); err != nil {
		return err
	}
	st, err := p.whole(ctx)
	if err != nil {
		return err
	}
	return p.database(ctx, st)
}

// database makes the application's user and database.
func (p *patroni) database(ctx context.Context, st standing) error {
	lead, _ := st.primary()
	app, err := p.throughNode(ctx, p.superuser, lead.node)
	if err != nil {
		return err
	}
	return cluster.Wait(ctx, "the application's database is made", func(ctx context.Context) (bool, string, error) {
		conn, err := app.Connect(ctx)
		if err != nil {
			return false, "", err
		}
		defer conn.Close(ctx)
		var there bool
		if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = 'app')").Scan(&there); err != nil || there {
			return there, "", err
		}
		// The password is of letters and digits.
		if _, err := conn.Exec(ctx, "do $$ begin if not exists (select from pg_roles where rolname = 'app') then create role app login password '"+p.app.Password+"'; end if; end $$", pgx.QueryExecModeSimpleProtocol); err != nil {
			return false, "", err
		}
		_, err = conn.Exec(ctx, "create database app owner app", pgx.QueryExecModeSimpleProtocol)
		return err == nil, "", err
	})
}

func (p *patroni) uninstall(ctx context.Context) error { return p.gone(ctx) }

// patroniSettings are what an arm asks of Patroni: its defaults, or the least that its validator takes, and no restart in place of a crashed server.
func patroniSettings(arm, mode string) map[string]any {
	s := map[string]any{"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "primary_start_timeout": nil, "synchronous_mode": mode == modeSync}
	if arm == patroniTuned {
		s["ttl"], s["loop_wait"], s["retry_timeout"], s["primary_start_timeout"] = 20, 1, 3, 0
	}
	return s
}

// configure changes the dynamic configuration. Every member reads it in its next loop; that the leader has, shows in its lock.
func (p *patroni) configure(ctx context.Context, arm, mode string) error {
	want := patroniSettings(arm, mode)
	st, err := p.whole(ctx)
	if err != nil {
		return err
	}
	lead, _ := st.primary()
	raw, err := p.rest(ctx, "GET", lead.name, "config", nil)
	if err != nil {
		return err
	}
	var now map[string]any
	if err := json.Unmarshal(raw, &now); err != nil {
		return fmt.Errorf("read Patroni's configuration: %w", err)
	}
	if settled(now, want) {
		return nil
	}
	if _, err := p.rest(ctx, "PATCH", lead.name, "config", want); err != nil {
		return err
	}
	err = cluster.Wait(ctx, "Patroni's lock has the arm's ttl", func(ctx context.Context) (bool, string, error) {
		e, err := p.s.Client.CoreV1().Endpoints(p.namespace).Get(ctx, p.service, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		got := e.Annotations["ttl"]
		return got == fmt.Sprint(want["ttl"]), got, nil
	})
	if err != nil {
		return err
	}
	// The others' next loop begins within what was their wait before.
	before, _ := now["loop_wait"].(float64)
	return pause(ctx, time.Duration(before)*time.Second+2*time.Second)
}

// settled reports whether a configuration has what is wanted. What is wanted as nil shall not be there.
func settled(now, want map[string]any) bool {
	for k, v := range want {
		got, there := now[k]
		switch w := v.(type) {
		case nil:
			if there && got != nil {
				return false
			}
		case int:
			if f, ok := got.(float64); !ok || f != float64(w) {
				return false
			}
		case bool:
			if b, _ := got.(bool); b != w {
				return false
			}
		}
	}
	return true
}

func (p *patroni) handOver(ctx context.Context, primary string) error {
	_, err := p.rest(ctx, "POST", primary, "switchover", map[string]any{"leader": primary})
	return err
}

// rest asks Patroni's REST API through the API server.
func (p *patroni) rest(ctx context.Context, verb, pod, path string, body any) ([]byte, error) {
	r := p.s.Client.CoreV1().RESTClient().Verb(verb).Namespace(p.namespace).Resource("pods").SubResource("proxy").Name(pod + ":8008").Suffix(path)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = r.SetHeader("Content-Type", "application/json").Body(b)
	}
	out, err := r.DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s /%s of %s: %w: %s", verb, path, pod, err, strings.TrimSpace(string(out)))
	}
	return out, nil
}

// reign is the timeline: Patroni's own counter does not count a leader that follows itself.
func (p *patroni) reign(ctx context.Context, primary string) (int, error) {
	got, err := p.sql(ctx, primary, "select ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(got)
}

func (p *patroni) client(context.Context) (cluster.App, error) { return p.app, nil }

func (p *patroni) version(ctx context.Context, primary string) (string, error) {
	out, err := p.s.Exec(ctx, p.namespace, primary, p.container, "patroni", "--version")
	return strings.TrimSpace(out), err
}

// render fills a manifest in.
func render(manifest string, values map[string]any) ([]byte, error) {
	t, err := template.New("manifest").Option("missingkey=error").Parse(manifest)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	var text bytes.Buffer
	if err := t.Execute(&text, values); err != nil {
		return nil, fmt.Errorf("render manifest: %w", err)
	}
	return text.Bytes(), nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
