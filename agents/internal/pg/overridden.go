package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// What ALTER SYSTEM has written stands in a file of its own, whether it has any effect or not.
const queryOverridden = `
SELECT DISTINCT f.name::pg_catalog.text AS name
  FROM pg_catalog.pg_file_settings f
 WHERE f.sourcefile LIKE '%/postgresql.auto.conf' AND pg_catalog.lower(f.name) = ANY ($1::pg_catalog.text[])
 ORDER BY 1`

// Overridden returns which of the named settings ALTER SYSTEM has set.
func (o *Observer) Overridden(ctx context.Context, names []string) ([]string, error) {
	rows, err := many[struct{ Name string }](ctx, o, queryOverridden, "{"+strings.Join(names, ",")+"}")
	if err != nil {
		return nil, fmt.Errorf("ask the server for settings of ALTER SYSTEM: %w", err)
	}
	out := make([]string, 0, len(rows))
	for _, r := range rows {
		out = append(out, r.Name)
	}
	return out, nil
}

// Reset takes back what ALTER SYSTEM has set, and makes the server read its configuration.
func (o *Observer) Reset(ctx context.Context, names []string) error {
	conn, err := o.session(ctx)
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range names {
		if err := conn.run(ctx, "ALTER SYSTEM RESET "+quoted(name)); err != nil {
			problems = append(problems, fmt.Errorf("reset %s: %w", name, err))
		}
	}
	if err := conn.run(ctx, "SELECT pg_catalog.pg_reload_conf()"); err != nil {
		problems = append(problems, fmt.Errorf("reload the configuration: %w", err))
	}
	return errors.Join(problems...)
}
