package rewind

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgconf"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

const (
	askLimit = 30 * time.Second
	// checkpointLimit is for a checkpoint of a busy leader with slow storage.
	checkpointLimit = 10 * time.Minute
)

// querySource asks who the leader is. The name of the WAL file that is written to begins with the timeline.
const querySource = `SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()), pg_catalog.pg_is_in_recovery(),
 (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
 CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END`

// source is what a leader says of itself.
type source struct {
	systemID   string
	recovering bool
	checkpoint uint32 // timeline of its last checkpoint: what pg_rewind takes for its timeline
	writes     uint32 // timeline it writes on
}

// CheckSource makes sure that the leader is the one that was meant: it holds the database, writes on the granted timeline, and its control
// file says so. After a promotion that takes a checkpoint, and without one pg_rewind would see the timeline of before and do nothing.
func CheckSource(ctx context.Context, o Options, systemID string, timeline uint32) error {
	s, err := askSource(ctx, o)
	if err != nil {
		return err
	}
	if err := s.check(systemID, timeline); err != nil {
		return fmt.Errorf("rewind to %s: %w", o.From.Name, err)
	}
	if s.checkpoint == timeline {
		return nil
	}
	if _, err := psql(ctx, o, checkpointLimit, pgconf.RewindConninfo(o.From, o.Keys, o.Name), "CHECKPOINT"); err != nil {
		return fmt.Errorf("rewind to %s: its last checkpoint is on timeline %d and not yet on %d: %w", o.From.Name, s.checkpoint, timeline, err)
	}
	if s, err = askSource(ctx, o); err != nil {
		return err
	}
	if s.checkpoint != timeline {
		return fmt.Errorf("rewind to %s: its last checkpoint is on timeline %d, granted is %d", o.From.Name, s.checkpoint, timeline)
	}
	return nil
}

func (s source) check(systemID string, timeline uint32) error {
	switch {
	case s.systemID != systemID:
		return fmt.Errorf("it holds the foreign database %s, this one is %s", s.systemID, systemID)
	case s.recovering:
		return fmt.Errorf("it is in recovery: it does not lead yet")
	case s.writes != timeline:
		return fmt.Errorf("it writes on timeline %d, granted is %d", s.writes, timeline)
	}
	return nil
}

func askSource(ctx context.Context, o Options) (source, error) {
	out, err := psql(ctx, o, askLimit, pgconf.RewindConninfo(o.From, o.Keys, o.Name), querySource)
	if err != nil {
		return source{}, fmt.Errorf("rewind to %s: ask who it is: %w", o.From.Name, err)
	}
	s, err := parseSource(out)
	if err != nil {
		return source{}, fmt.Errorf("rewind to %s: ask who it is: %w", o.From.Name, err)
	}
	return s, nil
}

func parseSource(out string) (source, error) {
	fields := strings.Split(out, "|")
	if len(fields) != 4 {
		return source{}, fmt.Errorf("got %q", out)
	}
	s := source{systemID: fields[0], recovering: fields[1] != "f"}
	checkpoint, err := strconv.ParseUint(fields[2], 10, 32)
	if err != nil {
		return source{}, fmt.Errorf("got %q: %w", out, err)
	}
	s.checkpoint = uint32(checkpoint)
	if s.recovering {
		return s, nil
	}
	writes, err := strconv.ParseUint(fields[3], 16, 32)
	if err != nil {
		return source{}, fmt.Errorf("got %q: %w", out, err)
	}
	s.writes = uint32(writes)
	return s, nil
}

// psql runs one statement. It comes with pg_basebackup in every package, and guard stays as small as it is without a driver of its own.
func psql(ctx context.Context, o Options, limit time.Duration, where, statement string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := o.Tools.Command(ctx, pgtools.Psql, "--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--field-separator=|",
		"--set=ON_ERROR_STOP=1", "--dbname="+where, "--command="+statement)
	var out strings.Builder
	complaint := &pgtools.Lines{}
	cmd.Stdout, cmd.Stderr = &out, complaint
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("%w: %s", err, complaint.Said(pgtools.Psql))
	}
	return strings.TrimSpace(out.String()), nil
}
