// Package data puts Debian's package index into a database through pgpool, as an application would: one session, COPY, TLS and a
// password, no knowledge of the topology.
package data

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgspan/pgspan/test/demo/debian"
)

const schema = `
create table if not exists package (
    name text primary key, section text, priority text, maintainer text, installed_kb bigint, summary text);
create table if not exists version (
    package text not null references package, version text not null, architecture text not null,
    filename text, bytes bigint, sha256 text, primary key (package, version, architecture));
create table if not exists dependency (
    package text not null references package, kind text not null, clause int not null, target text not null, relation text);
create index if not exists dependency_target on dependency (target);
truncate package, version, dependency`

// Count is what was loaded.
type Count struct {
	Packages, Versions, Dependencies int64
	Took                             time.Duration
}

// Rows is the sum of all tables.
func (c Count) Rows() int64 { return c.Packages + c.Versions + c.Dependencies }

// Load replaces the demo's tables by the index read from r, all in one transaction: a reader sees the old data or the new.
func Load(ctx context.Context, conn *pgx.Conn, r io.Reader) (Count, error) {
	began := time.Now()
	var packages, versions, dependencies [][]any
	known, versioned := map[string]bool{}, map[string]bool{}
	err := debian.Parse(r, func(p debian.Package) error {
		key := p.Name + "\x00" + p.Version + "\x00" + p.Architecture
		if versioned[key] {
			return nil // the same package from two sources
		}
		versioned[key] = true
		versions = append(versions, []any{p.Name, p.Version, p.Architecture, p.Filename, p.Bytes, p.SHA256})
		if known[p.Name] {
			return nil
		}
		known[p.Name] = true
		packages = append(packages, []any{p.Name, p.Section, p.Priority, p.Maintainer, p.InstalledKB, p.Summary})
		for _, d := range p.Dependencies {
			dependencies = append(dependencies, []any{p.Name, d.Kind, d.Clause, d.Target, d.Relation})
		}
		return nil
	})
	if err != nil {
		return Count{}, err
	}
	var n Count
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, schema, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("make tables: %w", err)
		}
		for _, t := range []struct {
			table   string
			columns []string
			rows    [][]any
			n       *int64
		}{
			{"package", []string{"name", "section", "priority", "maintainer", "installed_kb", "summary"}, packages, &n.Packages},
			{"version", []string{"package", "version", "architecture", "filename", "bytes", "sha256"}, versions, &n.Versions},
			{"dependency", []string{"package", "kind", "clause", "target", "relation"}, dependencies, &n.Dependencies},
		} {
			copied, err := tx.CopyFrom(ctx, pgx.Identifier{t.table}, t.columns, pgx.CopyFromRows(t.rows))
			if err != nil {
				return fmt.Errorf("copy into %s: %w", t.table, err)
			}
			*t.n = copied
		}
		return nil
	})
	n.Took = time.Since(began)
	return n, err
}

// Sum is what the demo compares before and after everything was deleted.
type Sum struct {
	Packages, Versions, Dependencies, Bytes int64
}

// Read counts the rows and sums a column, through whatever conn is connected to.
func Read(ctx context.Context, conn *pgx.Conn) (Sum, error) {
	const query = `select (select count(*) from package) as packages, (select count(*) from version) as versions,
    (select count(*) from dependency) as dependencies, (select coalesce(sum(bytes), 0)::bigint from version) as bytes`
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return Sum{}, fmt.Errorf("read sums: %w", err)
	}
	s, err := pgx.CollectOneRow(rows, pgx.RowToStructByName[Sum])
	if err != nil {
		return Sum{}, fmt.Errorf("read sums: %w", err)
	}
	return s, nil
}

// Needed is one row of MostNeeded.
type Needed struct {
	Target  string
	Clients int64
}

// MostNeeded is a read that is worth a replica: which packages do most others depend on.
func MostNeeded(ctx context.Context, conn *pgx.Conn, limit int) ([]Needed, error) {
	const query = `select target, count(distinct package) as clients from dependency
    where kind in ('Depends', 'Pre-Depends') group by target order by clients desc, target limit $1`
	rows, err := conn.Query(ctx, query, limit)
	if err != nil {
		return nil, fmt.Errorf("read most needed: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Needed])
}
