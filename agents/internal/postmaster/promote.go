package postmaster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pgspan/pgspan/agents/internal/durable"
)

// Promote tells a standby to become a primary, the way pg_ctl promote does. It returns when the server was told; the server may have
// to replay for a long time before it opens, and nothing but its death takes the word back.
func (s *Server) Promote() error {
	f, err := os.OpenFile(filepath.Join(s.data, "promote"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("promote server: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("promote server: %w", err)
	}
	return s.signal("promote server", syscall.SIGUSR1)
}

// ErrLineTaken is returned when the granted timeline cannot be reached any more.
var ErrLineTaken = errors.New("timeline is in use")

// ReserveTimelines makes the next promotion of the server in data open exactly the timeline granted. A server takes the first number
// above its own that has no history file, so every number between (own, granted) that was reserved by the record for somebody else gets an
// empty one (SAFETY D20). It is all on disk when this returns.
//
// A history file of the granted number means that a promotion to it has begun, here or elsewhere: the number is used up, and ErrLineTaken
// says so.
func ReserveTimelines(data string, own, granted uint32) error {
	if granted <= own {
		return fmt.Errorf("%w: granted is %d, the server is on %d already", ErrLineTaken, granted, own)
	}
	wal := filepath.Join(data, "pg_wal")
	switch _, err := os.Stat(historyFile(wal, granted)); {
	case err == nil:
		return fmt.Errorf("%w: %s exists", ErrLineTaken, filepath.Base(historyFile(wal, granted)))
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reserve timelines: %w", err)
	}
	for line := own + 1; line < granted; line++ {
		if err := createEmpty(historyFile(wal, line)); err != nil {
			return fmt.Errorf("reserve timeline %d: %w", line, err)
		}
	}
	if err := durable.SyncDir(wal); err != nil {
		return fmt.Errorf("reserve timelines: %w", err)
	}
	return nil
}

// createEmpty leaves a file alone that is there: it is the true history of that timeline, or empty already.
func createEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// OpenedTimeline reports whether a promotion to line has got as far as writing its history file. Timeline 1 has none.
func OpenedTimeline(data string, line uint32) (bool, error) {
	if line == 1 {
		return true, nil
	}
	st, err := os.Stat(historyFile(filepath.Join(data, "pg_wal"), line))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the history of timeline %d: %w", line, err)
	}
	return st.Size() > 0, nil
}

func historyFile(wal string, line uint32) string {
	return filepath.Join(wal, fmt.Sprintf("%08X.history", line))
}

// standbySignal is the file that makes a start a standby's. The server removes it when a promotion has come to its end.
const standbySignal = "standby.signal"

// WriteStandbySignal makes the next start in data a standby's, fsynced before it returns (SAFETY rule 15).
func WriteStandbySignal(data string) error {
	f, err := os.OpenFile(filepath.Join(data, standbySignal), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write standby.signal: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close(), durable.SyncDir(data)); err != nil {
		return fmt.Errorf("write standby.signal: %w", err)
	}
	return nil
}

// HasStandbySignal reports whether the server in data is, or would be started as, a standby.
func HasStandbySignal(data string) (bool, error) {
	_, err := os.Stat(filepath.Join(data, standbySignal))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for standby.signal: %w", err)
	}
	return true, nil
}
