package pgdata

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

// Control is what pg_controldata says.
type Control struct {
	SystemID string
	State    string // "in production", "shut down", "in archive recovery", …
	// Checkpoint and Timeline are those of the latest checkpoint record; a standby may have received more.
	Checkpoint lsn.LSN
	Redo       lsn.LSN
	Timeline   uint32
	// MinRecovery is how far replay must go before the files are consistent; zero for a primary.
	MinRecovery         lsn.LSN
	MinRecoveryTimeline uint32
	// BackupStart is set while the files are an unfinished base backup: without WAL up to its end they are worth nothing.
	BackupStart lsn.LSN
	Checksums   bool
	// LogHints: the first change of a page after a checkpoint is in the WAL even if it is only a hint (wal_log_hints).
	LogHints   bool
	WALSegment int64 // bytes
	// Limits are the settings of the primary that a standby's own must not be below, else it does not start or stops replaying.
	Limits map[string]int
}

// States of a standby, as pg_controldata writes them.
const (
	StateReplaying   = "in archive recovery"
	StateStandbyDown = "shut down in recovery"
)

// Clean reports whether the server was shut down properly, as primary or as standby.
func (c Control) Clean() bool { return c.State == "shut down" || c.State == StateStandbyDown }

// NewestTimeline is the highest timeline that the control file knows of.
func (c Control) NewestTimeline() uint32 { return max(c.Timeline, c.MinRecoveryTimeline) }

// controlTimeout is far above the 10 ms that reading one file takes, for storage that is slow but alive.
const controlTimeout = 30 * time.Second

// ReadControl runs pg_controldata. An error means that the control file is missing, damaged or of another version, or that it could
// not be found out; the error's text has what the program said.
func ReadControl(ctx context.Context, tools pgtools.Tools, dir string) (Control, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	cmd := tools.Command(ctx, pgtools.Controldata, "-D", dir)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return Control{}, fmt.Errorf("read control file: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	c, err := parseControl(string(out))
	if err != nil {
		return Control{}, fmt.Errorf("read control file: %w", err)
	}
	// pg_controldata goes on after a checksum that does not match, with a warning.
	if strings.Contains(string(out)+complaint.String(), "does not match value stored in") {
		return Control{}, fmt.Errorf("read control file: its checksum is wrong")
	}
	return c, nil
}

// limits are the names of pg_controldata and those of the settings.
var limits = map[string]string{
	"max_connections setting":      "max_connections",
	"max_worker_processes setting": "max_worker_processes",
	"max_wal_senders setting":      "max_wal_senders",
	"max_prepared_xacts setting":   "max_prepared_transactions",
	"max_locks_per_xact setting":   "max_locks_per_transaction",
}

func parseControl(out string) (Control, error) {
	fields := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	p := parser{fields: fields}
	c := Control{
		SystemID:            p.text("Database system identifier"),
		State:               p.text("Database cluster state"),
		Checkpoint:          p.position("Latest checkpoint location"),
		Redo:                p.position("Latest checkpoint's REDO location"),
		Timeline:            uint32(p.number("Latest checkpoint's TimeLineID", 32)),
		MinRecovery:         p.position("Minimum recovery ending location"),
		MinRecoveryTimeline: uint32(p.number("Min recovery ending loc's timeline", 32)),
		BackupStart:         p.position("Backup start location"),
		Checksums:           p.number("Data page checksum version", 32) != 0,
		LogHints:            p.text("wal_log_hints setting") == "on",
		WALSegment:          int64(p.number("Bytes per WAL segment", 63)),
		Limits:              map[string]int{},
	}
	for theirs, ours := range limits {
		c.Limits[ours] = int(p.number(theirs, 31))
	}
	if p.err != nil {
		return Control{}, p.err
	}
	return c, nil
}

// parser keeps the first error, so that a list of fields can be read without a test after each.
type parser struct {
	fields map[string]string
	err    error
}

func (p *parser) text(name string) string {
	v, ok := p.fields[name]
	if (!ok || v == "") && p.err == nil {
		p.err = fmt.Errorf("pg_controldata does not say %q", name)
	}
	return v
}

func (p *parser) number(name string, bits int) uint64 {
	n, err := strconv.ParseUint(p.text(name), 10, bits)
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("pg_controldata's %q: %w", name, err)
	}
	return n
}

func (p *parser) position(name string) lsn.LSN {
	l, err := lsn.Parse(p.text(name))
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("pg_controldata's %q: %w", name, err)
	}
	return l
}
