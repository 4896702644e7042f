package e2e

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"

	"github.com/jackc/pgx/v5"
)

// All releases live in one namespace: that they do not disturb each other is itself a case.
const namespace = "e2e"

// The standing releases. They are installed at once, before the first case, and shared by the cases.
var (
	// db is the whole thing: a primary, two replicas, two pgpools.
	db = newRelease(namespace, "db", map[string]string{
		"replicas": "2", "pgpool.enabled": "true", "pgpool.replicas": "2", "service.pgpool.type": "LoadBalancer",
	})
	// pg15 and pg18 are the oldest and the newest server. pg15's volumes admit a second pod, for the case that needs it.
	pg15 = newRelease(namespace, "pg15", map[string]string{"replicas": "1", "postgresql.version": "15", "persistence.accessModes": "{ReadWriteOnce}"})
	// pg18 runs as a uid that OpenShift would choose, and is told a setting in PostDock's way.
	pg18 = newRelease(namespace, "pg18", map[string]string{"replicas": "1", "postgresql.version": "18", "database.extraEnv.CONFIGS": "work_mem:7MB"}).asRandomUID()
	// foreign runs an image that is not ours: uid 26, programs in /usr/pgsql-17/bin, no passwd entry.
	foreign = newRelease(namespace, "foreign", map[string]string{
		"replicas": "1", "database.image.repository": "pgspan/foreign", "database.podSecurityContext.runAsUser": "26",
		"database.podSecurityContext.runAsGroup": "26", "database.podSecurityContext.fsGroup": "26",
	})
)

var install sync.Once

// standing installs the standing releases at their first use.
func standing(t *testing.T, ctx context.Context) {
	t.Helper()
	install.Do(func() {
		began := time.Now()
		for _, r := range []*release{db, pg15, pg18, foreign} {
			r.install(t, ctx, nil)
		}
		db.ready(t, ctx, 5)
		for _, r := range []*release{pg15, pg18, foreign} {
			r.ready(t, ctx, 2)
		}
		cases.add("(four standing releases installed and ready)", time.Since(began), "ok")
	})
	if t.Failed() {
		t.FailNow()
	}
}

// app is how an application reaches a Service of the release from outside the cluster.
func (r *release) app(t *testing.T, ctx context.Context, service string) cluster.App {
	t.Helper()
	address, err := site.Address(ctx, r.namespace, r.fullname+"-"+service)
	if err != nil {
		t.Fatal(err)
	}
	app, err := site.App(ctx, r.namespace, r.fullname+"-app-app", r.fullname+"-"+service, address)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// heldFrom is the first id of the session that is held open.
const heldFrom = 1 << 40

// writing runs the common writer against a Service while body runs, and returns what became of its writes.
func (r *release) writing(t *testing.T, ctx context.Context, table string, body func()) writer.Outcome {
	t.Helper()
	app := r.app(t, ctx, "rw")
	app.Name = "writer"
	w := &writer.Writer{Connect: app.Connect, Table: table, Reigns: true}
	if err := w.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	// A second session is held open over everything that happens, to catch a server that was deposed and goes on acknowledging.
	held := &writer.Writer{Connect: app.Connect, Table: table, Reigns: true, Interval: 50 * time.Millisecond, First: heldFrom, Once: true, Deadline: time.Hour}
	run, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	begin := time.Now()
	go func() {
		defer close(done)
		var both sync.WaitGroup
		both.Go(func() { w.Run(run) })
		both.Go(func() { held.Run(run) })
		both.Wait()
	}()
	// Gaps count once the writer writes.
	err := cluster.Wait(ctx, "the writer writes", func(context.Context) (bool, string, error) { return len(w.Log()) > 20, "few writes", nil })
	if err == nil {
		begin = time.Now()
		body()
		// Its gap ends when it writes again itself, whoever else could before.
		over := time.Now()
		err = cluster.Wait(ctx, "the writer writes again", func(context.Context) (bool, string, error) {
			log := w.Log()
			last := log[len(log)-1]
			return last.Sent.After(over) && !last.Acked.IsZero(), fmt.Sprint(last.Err), nil
		})
	}
	stop()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	var rows map[int64]bool
	err = cluster.Wait(ctx, "the writer's rows can be read", func(ctx context.Context) (bool, string, error) {
		conn, err := app.Connect(ctx)
		if err != nil {
			return false, "", err
		}
		defer conn.Close(ctx)
		rows, err = writer.Rows(ctx, conn, table)
		return err == nil, "", err
	})
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(rows, func(id int64, _ bool) bool { return id >= heldFrom })
	o := writer.Judge(w.Log(), rows, begin, time.Time{})
	if d := writer.Zombie(w.Log(), held.Log()); d > 0 {
		t.Errorf("a session that was held open got an acknowledgement from its server %s after another server's first", d)
	}
	t.Logf("the writer met, from the beginning of its longest gap:%s", writer.Errors(w.Log(), o.GapAt, o.GapAt.Add(o.Gap)))
	return o
}

// one asks a question with one answer over a new connection.
func one[T any](ctx context.Context, app cluster.App, query string, args ...any) (T, error) {
	var zero T
	conn, err := app.Connect(ctx)
	if err != nil {
		return zero, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return zero, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
}
