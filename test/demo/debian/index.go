// Package debian reads Debian's package index, the demo's data: some sixty thousand packages with versions and dependencies, real,
// and on every machine that the lab runs on.
package debian

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Package is one stanza of the index.
type Package struct {
	Name, Version, Architecture   string
	Section, Priority, Maintainer string
	Summary, Filename, SHA256     string
	InstalledKB, Bytes            int64
	Dependencies                  []Dependency
}

// Dependency is one alternative of one clause of a relationship field.
type Dependency struct {
	Kind     string // Depends, Pre-Depends, Recommends, Suggests, Conflicts, Breaks, Replaces, Provides
	Clause   int    // position of the clause in its field; alternatives ("a | b") share it
	Target   string
	Relation string // ">= 1.2", or empty
}

var relationships = []string{"Depends", "Pre-Depends", "Recommends", "Suggests", "Conflicts", "Breaks", "Replaces", "Provides"}

// Parse calls yield for each package of an index in deb822 form (deb822(5)).
func Parse(r io.Reader, yield func(Package) error) error {
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 4<<20)
	fields := map[string]string{}
	flush := func() error {
		if len(fields) == 0 {
			return nil
		}
		p, err := fromFields(fields)
		clear(fields)
		if err != nil {
			return err
		}
		return yield(p)
	}
	for scan.Scan() {
		line := scan.Text()
		switch {
		case line == "":
			if err := flush(); err != nil {
				return err
			}
		case line[0] == ' ' || line[0] == '\t':
			// A continuation line: of a description we need the first line only.
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				return fmt.Errorf("parse package index: line %q has no colon", line)
			}
			fields[name] = strings.TrimSpace(value)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("read package index: %w", err)
	}
	return flush()
}

func fromFields(f map[string]string) (Package, error) {
	p := Package{
		Name: f["Package"], Version: f["Version"], Architecture: f["Architecture"], Section: f["Section"], Priority: f["Priority"],
		Maintainer: f["Maintainer"], Summary: f["Description"], Filename: f["Filename"], SHA256: f["SHA256"],
	}
	if p.Name == "" || p.Version == "" {
		return p, fmt.Errorf("parse package index: a stanza lacks Package or Version: %v", f)
	}
	for field, into := range map[string]*int64{"Installed-Size": &p.InstalledKB, "Size": &p.Bytes} {
		if f[field] == "" {
			continue
		}
		n, err := strconv.ParseInt(f[field], 10, 64)
		if err != nil {
			return p, fmt.Errorf("package %s: %s: %w", p.Name, field, err)
		}
		*into = n
	}
	for _, kind := range relationships {
		p.Dependencies = append(p.Dependencies, parseRelationship(kind, f[kind])...)
	}
	return p, nil
}

// parseRelationship splits "a (>= 1) | b, c:any [amd64]" into its clauses and alternatives.
func parseRelationship(kind, field string) []Dependency {
	var out []Dependency
	for i, clause := range strings.Split(field, ",") {
		for _, alternative := range strings.Split(clause, "|") {
			alternative, _, _ = strings.Cut(alternative, "[")
			target, relation, _ := strings.Cut(alternative, "(")
			target, _, _ = strings.Cut(strings.TrimSpace(target), ":")
			if target == "" {
				continue
			}
			out = append(out, Dependency{kind, i, target, strings.TrimSuffix(strings.TrimSpace(relation), ")")})
		}
	}
	return out
}
