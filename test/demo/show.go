package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/demo/data"
)

func (d *demo) connectThroughPgpool(ctx context.Context) error {
	address, err := d.s.Address(ctx, namespace, fullname+"-pgpool")
	if err != nil {
		return err
	}
	d.app, err = d.s.App(ctx, namespace, fullname+"-app-"+user, fullname+"-pgpool", address)
	return err
}

func (d *demo) load(ctx context.Context) error {
	if err := d.connectThroughPgpool(ctx); err != nil {
		return err
	}
	index, err := packageIndex(ctx)
	if err != nil {
		return err
	}
	conn, err := d.app.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	n, err := data.Load(ctx, conn, bytes.NewReader(index))
	if err != nil {
		return err
	}
	fmt.Printf("   %d packages, %d versions, %d dependencies: %.0f rows/s from text to commit\n",
		n.Packages, n.Versions, n.Dependencies, float64(n.Rows())/n.Took.Seconds())
	return nil
}

// packageIndex asks apt for everything it knows; apt's own lists may never have been fetched on a fresh machine.
func packageIndex(ctx context.Context) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "dumpavail").Output()
	if err != nil {
		return nil, fmt.Errorf("read the package index: %w", err)
	}
	if len(out) > 1<<20 {
		return out, nil
	}
	fmt.Println("   fetching the package index (apt-get update)")
	if err := exec.CommandContext(ctx, "apt-get", "update", "-qq").Run(); err != nil {
		return nil, fmt.Errorf("fetch the package index: %w", err)
	}
	return exec.CommandContext(ctx, "apt-cache", "dumpavail").Output()
}

func (d *demo) readAndWrite(ctx context.Context) error {
	reads := map[string]int{}
	const sessions, each = 30, 4
	for range sessions {
		conn, err := d.app.Connect(ctx)
		if err != nil {
			return err
		}
		for range each {
			var where string
			// Not pg_is_in_recovery(): it is volatile, so pgpool takes the query for a write.
			const query = `select host(inet_server_addr()) from package where name = 'libc6'`
			if err := conn.QueryRow(ctx, query).Scan(&where); err != nil {
				conn.Close(ctx)
				return fmt.Errorf("read: %w", err)
			}
			reads[where]++
		}
		conn.Close(ctx)
	}
	fmt.Printf("   %d reads of %d sessions went to:\n", sessions*each, sessions)
	pods, err := d.s.Pods(ctx, namespace, selector+",pgspan.io/role")
	if err != nil {
		return err
	}
	for _, p := range pods {
		fmt.Printf("     %-14s %-8s %d\n", p.Name, p.Labels["pgspan.io/role"], reads[p.Status.PodIP])
	}

	conn, err := d.app.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	needed, err := data.MostNeeded(ctx, conn, 5)
	if err != nil {
		return err
	}
	fmt.Println("   most needed packages:")
	for _, n := range needed {
		fmt.Printf("     %-28s %d others depend on it\n", n.Target, n.Clients)
	}
	if _, err := conn.Exec(ctx, `create table if not exists visit (id bigint generated always as identity primary key, at timestamptz not null default now())`); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	var id int64
	if err := conn.QueryRow(ctx, `insert into visit default values returning id`).Scan(&id); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	fmt.Printf("   wrote visit %d\n", id)
	d.before, err = data.Read(ctx, conn)
	return err
}

func (d *demo) show(ctx context.Context) error {
	pods, err := d.s.Pods(ctx, namespace, selector+",pgspan.io/role")
	if err != nil {
		return err
	}
	primary := ""
	for _, p := range pods {
		fmt.Printf("   %-22s %-8s on %-4s %s\n", p.Name, p.Labels["pgspan.io/role"], p.Spec.NodeName, p.Status.PodIP)
		if p.Labels["pgspan.io/role"] == "primary" {
			primary = p.Name
		}
	}
	if primary == "" {
		return fmt.Errorf("no pod is labelled as the primary")
	}
	replication := `select format('%s %s, flush lag %s bytes, %s s', application_name, state,
            pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn), coalesce(round(extract(epoch from replay_lag)::numeric, 3), 0)) from pg_stat_replication order by 1`
	out, err := d.s.SQL(ctx, namespace, primary, replication)
	if err != nil {
		return err
	}
	fmt.Printf("   replication, as the primary sees it:\n     %s\n", strings.ReplaceAll(out, "\n", "\n     "))
	fmt.Println("   connections by encryption:")
	for _, p := range pods {
		out, err := d.encryption(ctx, p.Name)
		if err != nil {
			return err
		}
		fmt.Printf("     %-14s %s\n", p.Name, strings.ReplaceAll(out, "\n", "\n                    "))
		if strings.Contains(out, "NOT ENCRYPTED") {
			return fmt.Errorf("a connection to %s is not encrypted", p.Name)
		}
	}
	return nil
}

// encryption is how a member's sessions over the network are encrypted. A node that has just got its power back takes orders a moment later.
func (d *demo) encryption(ctx context.Context, pod string) (out string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = cluster.Wait(ctx, pod+" says how its connections are encrypted", func(ctx context.Context) (bool, string, error) {
		out, err = d.s.SQL(ctx, namespace, pod, `select format('%s: %s with %s', case when s.ssl then s.version else 'NOT ENCRYPTED' end, count(*),
            string_agg(distinct coalesce(nullif(a.application_name, ''), a.usename), ', '))
            from pg_stat_ssl s join pg_stat_activity a using (pid) where a.client_addr is not null group by s.ssl, s.version`)
		return true, "", err
	})
	return out, err
}

// showAgain proves that what was committed before all pods went is still there.
func (d *demo) showAgain(ctx context.Context) error {
	var sum data.Sum
	err := cluster.Wait(ctx, "data can be read through pgpool", func(ctx context.Context) (bool, string, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		conn, err := d.app.Connect(ctx)
		if err != nil {
			return false, "", err
		}
		defer conn.Close(ctx)
		sum, err = data.Read(ctx, conn)
		return err == nil, "", err
	})
	if err != nil {
		return err
	}
	fmt.Printf("   %d packages, %d versions, %d dependencies, %d bytes of packages\n", sum.Packages, sum.Versions, sum.Dependencies, sum.Bytes)
	if d.before != sum {
		return fmt.Errorf("before the pods went it was %+v", d.before)
	}
	fmt.Println("   nothing is missing")
	return d.show(ctx)
}
