package rewind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

const (
	// recoveryLimit ends a recovery that gets nowhere. It is as long as a recovery of many gigabytes takes on slow storage.
	recoveryLimit = time.Hour
	// stopLimit is for the shutdown after it, and quitLimit for what does not stop.
	stopLimit, quitLimit = 5 * time.Minute, 20 * time.Second
	// lookEvery is how often a replay is asked how far it is.
	lookEvery = 200 * time.Millisecond
)

// Recover does the crash recovery of a primary and shuts it down, by the server in single-user mode. That mode knows no standby, so
// standby.signal is removed: the caller's journal keeps everybody from starting the directory meanwhile.
func Recover(ctx context.Context, o Options, c pgdata.Control) error {
	if err := prepare(o); err != nil {
		return fmt.Errorf("crash recovery: %w", err)
	}
	if err := pgdata.SetStandby(o.Data, false); err != nil {
		return fmt.Errorf("crash recovery: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
	defer cancel()
	cmd := o.Tools.Command(ctx, pgtools.Postgres, append(append([]string{"--single"}, arguments(o, c, nil)...), "template1")...)
	pgtools.Bind(cmd, o.Lock)
	out := &pgtools.Lines{Each: o.said}
	cmd.Stdout, cmd.Stderr = out, out
	if err := pgtools.Run(cmd); err != nil {
		return fmt.Errorf("crash recovery: %w: %s", why(ctx, err), out.Said(pgtools.Postgres))
	}
	return nil
}

// Replay replays all WAL that a standby has and shuts it down. It streams from nobody, and only we can reach it.
func Replay(ctx context.Context, o Options, c pgdata.Control, w pgdata.WAL) (err error) {
	if err := prepare(o); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if err := pgdata.SetStandby(o.Data, true); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
	defer cancel()
	cmd := o.Tools.Command(ctx, pgtools.Postgres, arguments(o, c, map[string]string{
		// Else it would look for the leader's timeline, whose history it may have, and which it cannot follow.
		"recovery_target_timeline": strconv.FormatUint(uint64(w.Timeline), 10),
		"hot_standby":              "on",
		"unix_socket_directories":  o.Private,
	})...)
	pgtools.Bind(cmd, o.Lock)
	// Its backends are in sessions of their own, so a SIGKILL would leave them.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = quitLimit
	out := &pgtools.Lines{Each: o.said}
	cmd.Stdout, cmd.Stderr = out, out
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- pgtools.RunStarted(cmd, started) }()
	<-started
	replayed := make(chan error, 1)
	waiting, enough := context.WithCancel(ctx)
	defer enough()
	go func() { replayed <- awaitReplay(waiting, o, w) }()
	select {
	case err := <-ended:
		return fmt.Errorf("replay: the server ended: %w: %s", why(ctx, err), out.Said(pgtools.Postgres))
	case err := <-replayed:
		if err != nil {
			cancel()
			<-ended
			return fmt.Errorf("replay: %w", err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	select {
	case err = <-ended:
	case <-time.After(stopLimit):
		cancel()
		err = <-ended
	}
	if err != nil {
		return fmt.Errorf("replay: shut down: %w: %s", err, out.Said(pgtools.Postgres))
	}
	return nil
}

// why prefers the reason why a program was killed.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func (o Options) said(line string) { o.Log.Debug("postgres", "line", line) }

// queryReplay asks how far a replay is and what it waits for.
const queryReplay = `SELECT pg_catalog.pg_last_wal_replay_lsn(), (SELECT wait_event FROM pg_catalog.pg_stat_activity WHERE backend_type = 'startup')`

// nothingLeft is what the startup process waits for when there is no WAL left, and nobody to have more from.
const nothingLeft = "RecoveryRetrieveRetryInterval"

// awaitReplay returns when the server has replayed everything that it has.
func awaitReplay(ctx context.Context, o Options, w pgdata.WAL) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last string
	var problem error
	for {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), problem)
		case <-tick.C:
		}
		// It accepts nobody before its files are consistent.
		out, err := psql(ctx, o, askLimit, "host="+o.Private+" user=postgres dbname=postgres", queryReplay)
		if problem = err; err != nil {
			continue
		}
		position, event, _ := strings.Cut(out, "|")
		at, err := lsn.Parse(position)
		if err != nil {
			problem = err
			continue
		}
		if event == nothingLeft && position == last {
			if w.Exact && at < w.End {
				return fmt.Errorf("the server stopped at %s, before the end of its WAL at %s", at, w.End)
			}
			return nil
		}
		if last = ""; event == nothingLeft {
			last = position
		}
	}
}

// prepare makes the private directory with a configuration that has nothing in it.
func prepare(o Options) error {
	if err := pgdata.RemovePostmasterPID(o.Data); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Private, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"postgresql.conf": "",
		"pg_ident.conf":   "",
		"pg_hba.conf":     "local all postgres trust\n", // the directory of the socket is ours alone
	} {
		if err := durable.WriteFile(filepath.Join(o.Private, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// arguments are those of a server that recovers and does nothing else. They stand on the command line, where postgresql.auto.conf in the
// data directory does not reach them.
func arguments(o Options, c pgdata.Control, more map[string]string) []string {
	set := map[string]string{
		"config_file": filepath.Join(o.Private, "postgresql.conf"),
		"hba_file":    filepath.Join(o.Private, "pg_hba.conf"),
		"ident_file":  filepath.Join(o.Private, "pg_ident.conf"),

		"listen_addresses": "", "unix_socket_directories": "", "ssl": "off", "cluster_name": "pgspan rewind",
		"logging_collector": "off", "log_destination": "stderr", "lc_messages": "C",
		"shared_preload_libraries": "", "session_preload_libraries": "", "local_preload_libraries": "", "jit": "off",
		"shared_buffers": "64MB", "huge_pages": "off", "autovacuum": "off",
		"archive_mode": "off", "restore_command": "", "archive_cleanup_command": "", "recovery_end_command": "",
		"primary_conninfo": "", "primary_slot_name": "", "recovery_min_apply_delay": "0", "synchronous_standby_names": "",
		"recovery_target": "", "recovery_target_lsn": "", "recovery_target_name": "", "recovery_target_time": "", "recovery_target_xid": "",

		"fsync": "on", "full_page_writes": "on", "wal_level": "logical", "wal_log_hints": onOff(c.LogHints),
		// The checkpoint at the end must leave the WAL since the last checkpoint that the leader has too: pg_rewind reads it.
		"wal_keep_size": "1TB", "max_slot_wal_keep_size": "-1",
		"max_replication_slots": "1000", // as many as there may be on disk, else it does not start
	}
	if o.Tools.Major >= 18 {
		set["idle_replication_slot_timeout"] = "0"
	}
	for name, value := range c.Limits {
		set[name] = strconv.Itoa(value)
	}
	maps.Copy(set, more)
	args := []string{"-D", o.Data}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		args = append(args, "-c", name+"="+set[name])
	}
	return args
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
