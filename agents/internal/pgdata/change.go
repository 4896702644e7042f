package pgdata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pgspan/pgspan/agents/internal/durable"
)

const (
	standbySignal  = "standby.signal"
	recoverySignal = "recovery.signal"
	postmasterPID  = "postmaster.pid"
)

// Mode is what PostgreSQL wants of its data directory. It would accept 0750 too; one mode is simpler to reason about.
const Mode fs.FileMode = 0o700

// RepairMode gives the directory the mode that PostgreSQL accepts: fsGroup makes it 2770 at each mount. A directory that is not there
// needs no repair. The error says that it cannot be done, which is so when somebody else owns it.
func RepairMode(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("repair mode of data directory: %w", err)
	}
	if info.Mode()&(fs.ModePerm|fs.ModeSetgid|fs.ModeSetuid|fs.ModeSticky) == Mode {
		return nil
	}
	if err := os.Chmod(dir, Mode); err != nil {
		return fmt.Errorf("repair mode of data directory: %w", err)
	}
	return nil
}

// SetStandby writes or removes standby.signal, and makes that lasting. recovery.signal is removed in both cases: a server that was
// given one promotes itself at the end of recovery, which is nobody's decision. Without standby.signal the server starts writable on
// the timeline it was on, so the caller must have the right to that (SAFETY rule 15).
//
// A standby's reservations of timelines are removed as well, see dropReservations.
func SetStandby(dir string, standby bool) error {
	if err := durable.Remove(filepath.Join(dir, recoverySignal)); err != nil {
		return fmt.Errorf("remove %s: %w", recoverySignal, err)
	}
	path := filepath.Join(dir, standbySignal)
	if !standby {
		if err := durable.Remove(path); err != nil {
			return fmt.Errorf("remove %s: %w", standbySignal, err)
		}
		return nil
	}
	if err := dropReservations(dir); err != nil {
		return err
	}
	there, err := exists(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", standbySignal, err)
	}
	if there {
		// It may have been written by a process that was killed before its fsync.
		if err := durable.SyncDir(dir); err != nil {
			return fmt.Errorf("write %s: %w", standbySignal, err)
		}
		return nil
	}
	if err := durable.WriteFile(path, nil, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", standbySignal, err)
	}
	return nil
}

// RemovePostmasterPID removes what a killed server left. In a new container its process id belongs to somebody else, possibly to a
// thread of the agent itself, and the server would wait for that for ever (SAFETY D34). Only who holds the volume's lock may do it:
// the lock is what shows that no server runs.
func RemovePostmasterPID(dir string) error {
	if err := durable.Remove(filepath.Join(dir, postmasterPID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", postmasterPID, err)
	}
	return nil
}

// ReserveTimelines puts an empty history file into pg_wal for each timeline after own and before granted, so that a promotion takes
// granted and no number that another member may have taken (SAFETY rule 14). Files that are there are left alone. The server must be a
// running standby: one that is started with reservations would take them for timelines to follow.
func ReserveTimelines(dir string, own, granted uint32) error {
	wal := filepath.Join(dir, "pg_wal")
	for line := own + 1; line < granted; line++ {
		path := filepath.Join(wal, fmt.Sprintf("%08X.history", line))
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return fmt.Errorf("reserve timeline %d: %w", line, err)
		}
	}
	if err := durable.SyncDir(wal); err != nil {
		return fmt.Errorf("reserve timelines: %w", err)
	}
	return nil
}

// dropReservations removes empty history files above the newest real timeline: what is left of a promotion that did not happen. A
// standby that finds them when it starts looks for WAL of the highest number, which nobody has, and waits for ever. Those below a real
// timeline stay: they are passed over at the start, and a follower on an older timeline asks its primary for each file in between.
func dropReservations(dir string) error {
	files, err := histories(dir)
	if err != nil {
		return fmt.Errorf("drop reserved timelines: %w", err)
	}
	newest := newestReal(files)
	for _, f := range files {
		if f.line <= newest || f.size > 0 {
			continue
		}
		if err := durable.Remove(f.path); err != nil {
			return fmt.Errorf("drop reserved timeline %d: %w", f.line, err)
		}
	}
	return nil
}
