package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgspan/pgspan/test/cluster"
)

// TestOneSite is what one site promises. The cases share the standing releases and leave them whole.
func TestOneSite(t *testing.T) {
	run(t, "install", 6*time.Minute, func(t *testing.T, ctx context.Context) { standing(t, ctx) })
	if t.Failed() {
		return
	}
	run(t, "replica_is_seeded_by_the_init_container", time.Minute, replicaIsSeeded)
	run(t, "every_link_is_encrypted", time.Minute, everyLinkIsEncrypted)
	run(t, "reads_are_spread_and_written_rows_are_read_back", time.Minute, readsAreSpread)
	run(t, "every_major_boots_with_a_replica", time.Minute, everyMajor)
	run(t, "foreign_image_works_unchanged", time.Minute, foreignImage)
	run(t, "random_uid_of_openshift_boots_with_a_replica", time.Minute, randomUID)
	run(t, "neighbour_in_the_namespace_is_not_touched", 2*time.Minute, neighbour)
	run(t, "all_pods_deleted_at_once", 3*time.Minute, allPodsDeleted)
	run(t, "reads_go_on_through_pgpool_while_the_primary_is_gone", 3*time.Minute, readsWithoutPrimary)
}

func replicaIsSeeded(t *testing.T, ctx context.Context) {
	primary := db.primary(t, ctx)
	db.sql(t, ctx, primary, "create table if not exists seeded (id int); truncate seeded; insert into seeded values (42)")
	id := db.sql(t, ctx, primary, "select system_identifier from pg_control_system()")
	for _, suffix := range []string{"replica-0", "replica-1"} {
		pod := db.pod(suffix)
		db.eventually(t, ctx, pod, "select id from seeded", "42")
		if got := db.sql(t, ctx, pod, "select pg_is_in_recovery()"); got != "t" {
			t.Errorf("%s is not in recovery", pod)
		}
		if got := db.sql(t, ctx, pod, "select system_identifier from pg_control_system()"); got != id {
			t.Errorf("%s has system identifier %s, the primary %s", pod, got, id)
		}
		db.says(t, ctx, pod, "seed", `"do":"clone"`)
	}
	if got := db.sql(t, ctx, primary, "select count(*) from pg_stat_replication where state = 'streaming'"); got != "2" {
		t.Errorf("%s replicas stream, want 2", got)
	}
}

func everyLinkIsEncrypted(t *testing.T, ctx context.Context) {
	app := db.app(t, ctx, "pgpool")
	for range 20 { // reads are spread: pgpool has sessions to all members then
		if _, err := one[int](ctx, app, "select 1"); err != nil {
			t.Fatal(err)
		}
	}
	for name := range db.members(t, ctx) {
		got := db.sql(t, ctx, name, `select count(*) filter (where s.ssl), count(*) filter (where not s.ssl)
			from pg_stat_ssl s join pg_stat_activity a using (pid) where a.client_addr is not null`)
		with, without, _ := strings.Cut(got, "|")
		if with == "0" || without != "0" {
			t.Errorf("%s: %s connections with TLS, %s without; want some and none", name, with, without)
		}
	}
	// Without TLS a password is not even asked for.
	out, err := site.Exec(ctx, db.namespace, db.pod("replica-0"), "postgres", "psql", "-XAtqc", "select 1",
		"host="+db.fullname+"-rw user=app dbname=app sslmode=disable connect_timeout=3")
	if err == nil || !strings.Contains(err.Error(), "no encryption") {
		t.Errorf("a connection without TLS: %q, %v; want pg_hba.conf to refuse it", out, err)
	}
}

func readsAreSpread(t *testing.T, ctx context.Context) {
	app := db.app(t, ctx, "pgpool")
	where := map[string]int{}
	for range 30 {
		got, err := one[string](ctx, app, "select host(inet_server_addr())")
		if err != nil {
			t.Fatal(err)
		}
		where[got]++
	}
	if len(where) < 3 {
		t.Errorf("reads went to %v; want the primary and both replicas", where)
	}
	conn, err := app.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create table if not exists own_writes (id int)"); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := conn.Exec(ctx, "insert into own_writes values ($1)", i); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := conn.QueryRow(ctx, "select count(*) from own_writes where id = $1", i).Scan(&n); err != nil || n != 1 {
			t.Fatalf("row %d just written was read %d times, %v", i, n, err)
		}
	}
	if _, err := conn.Exec(ctx, "drop table own_writes"); err != nil {
		t.Fatal(err)
	}
}

func everyMajor(t *testing.T, ctx context.Context) {
	for major, r := range map[string]*release{"15": pg15, "17": db, "18": pg18} {
		primary := r.primary(t, ctx)
		r.sql(t, ctx, primary, "create table if not exists m (v text); truncate m; insert into m select current_setting('server_version_num')::int / 10000")
		for _, member := range []string{"primary-0", "replica-0"} { // who leads may have changed
			r.eventually(t, ctx, r.pod(member), "select v from m", major)
		}
		r.eventually(t, ctx, primary, "select count(*) > 0 from pg_stat_replication where state = 'streaming'", "t")
	}
}

func foreignImage(t *testing.T, ctx context.Context) {
	primary := foreign.primary(t, ctx)
	foreign.sql(t, ctx, primary, "create extension if not exists vector; create extension if not exists postgis; create table if not exists v (e vector(2), p geometry)")
	foreign.sql(t, ctx, primary, "insert into v values ('[1,2]', st_point(3, 4))")
	foreign.eventually(t, ctx, foreign.pod("replica-0"), "select e, st_x(p) from v limit 1", "[1,2]|3")
	out, err := site.Exec(ctx, foreign.namespace, primary, "postgres", "id", "-u")
	if err != nil || strings.TrimSpace(out) != "26" {
		t.Errorf("the server's uid is %q, %v; want 26", out, err)
	}
}

func randomUID(t *testing.T, ctx context.Context) {
	for _, suffix := range []string{"primary-0", "replica-0"} {
		out, err := site.Exec(ctx, pg18.namespace, pg18.pod(suffix), "postgres", "id", "-u")
		if err != nil || strings.TrimSpace(out) != "1000660000" {
			t.Errorf("%s: the server's uid is %q, %v; want 1000660000", suffix, out, err)
		}
		out, err = site.Exec(ctx, pg18.namespace, pg18.pod(suffix), "postgres", "stat", "-c", "%u %a", "/var/lib/pgspan/pgdata")
		if err != nil || strings.TrimSpace(out) != "1000660000 700" {
			t.Errorf("%s: owner and mode of the data directory are %q, %v; want 1000660000 700", suffix, out, err)
		}
	}
	pg18.eventually(t, ctx, pg18.primary(t, ctx), "select count(*) from pg_stat_replication where state = 'streaming'", "1")
}

// neighbour kills one release's primary pod while a writer writes into another in the same namespace.
func neighbour(t *testing.T, ctx context.Context) {
	for _, r := range []*release{db, pg15, pg18, foreign} {
		services, err := site.Client.CoreV1().Services(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: r.selector()})
		if err != nil {
			t.Fatal(err)
		}
		if len(services.Items) < 4 {
			t.Fatalf("%s has %d Services, want at least rw, ro, r and members", r.fullname, len(services.Items))
		}
		for _, s := range services.Items {
			if len(s.Spec.Selector) == 0 {
				continue
			}
			pods, err := site.Pods(ctx, r.namespace, metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: s.Spec.Selector}))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pods {
				if p.Labels["pgspan.io/cluster"] != r.fullname {
					t.Errorf("Service %s selects pod %s of another release", s.Name, p.Name)
				}
			}
		}
	}
	got := pg18.writing(t, ctx, "neighbour", func() {
		if err := site.Client.CoreV1().Pods(namespace).Delete(ctx, pg15.primary(t, ctx), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the pod's end and its successor's start must fall into the writing
		pg15.ready(t, ctx, 2)
	})
	t.Log(got)
	if got.Gap > time.Second || len(got.Lost) > 0 || got.InDoubt > 0 {
		t.Errorf("pg18's writes while pg15's primary was killed: %v; want no gap", got)
	}
}

func allPodsDeleted(t *testing.T, ctx context.Context) {
	primary := db.primary(t, ctx)
	db.sql(t, ctx, primary, "create table if not exists kept (id serial, at timestamptz default now()); insert into kept default values")
	before := db.sql(t, ctx, primary, "select count(*), max(id) from kept")
	if n := db.deletePods(t, ctx, db.selector()); n != 5 {
		t.Errorf("%d pods were deleted, want 5", n)
	}
	db.ready(t, ctx, 5)
	for _, suffix := range []string{"primary-0", "replica-0", "replica-1"} {
		db.eventually(t, ctx, db.pod(suffix), "select count(*), max(id) from kept", before)
	}
	db.eventually(t, ctx, db.primary(t, ctx), "select count(*) from pg_stat_replication where state = 'streaming'", "2")
	// Written through the application's own way in.
	app := db.app(t, ctx, "rw")
	if _, err := one[int](ctx, app, "select 1"); err != nil {
		t.Error(err)
	}
}

// readsWithoutPrimary takes the primary away for good and reads all the time, each time over a new session through pgpool.
func readsWithoutPrimary(t *testing.T, ctx context.Context) {
	app := db.app(t, ctx, "pgpool")
	if _, err := one[int](ctx, app, "select 1"); err != nil {
		t.Fatal(err)
	}
	gone := db.primary(t, ctx)
	reading, stop := context.WithCancel(ctx)
	done := make(chan time.Duration)
	go func() { done <- longestGap(reading, app) }()
	set, n := "primary", 1
	if gone != db.pod("primary-0") {
		set, n = "replica", 2
	}
	db.scale(t, ctx, set, 0)
	defer func() {
		db.scale(t, ctx, set, n)
		db.ready(t, ctx, 5)
	}()
	err := cluster.Wait(ctx, "the application writes through pgpool again", func(ctx context.Context) (bool, string, error) {
		conn, err := app.Connect(ctx)
		if err != nil {
			return false, "", err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "create table if not exists gone (primary_was text); insert into gone values ('"+gone+"')")
		return err == nil, "", err
	})
	stop()
	gap := <-done
	if err != nil {
		db.evidence(t)
		t.Fatal(err)
	}
	t.Logf("the longest time without a read was %.1f s", gap.Seconds())
	// A link waits three seconds for its primary, then reads go to the replicas.
	if gap > 8*time.Second {
		t.Errorf("nothing could be read for %s while %s went", gap, gone)
	}
	if now := db.primary(t, ctx); now == gone {
		t.Errorf("%s still leads", now)
	}
}

// longestGap reads until ctx ends and returns the longest time without an answer.
func longestGap(ctx context.Context, app cluster.App) time.Duration {
	var longest time.Duration
	last := time.Now()
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := one[int](attempt, app, "select count(*)::int from pg_database")
		cancel()
		if err == nil {
			longest, last = max(longest, time.Since(last)), time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return max(longest, time.Since(last))
}

// scale sets the pods of one of the two sets.
func (r *release) scale(t *testing.T, ctx context.Context, set string, n int) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, n)
	_, err := site.Client.AppsV1().StatefulSets(r.namespace).Patch(ctx, r.pod(set), types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
