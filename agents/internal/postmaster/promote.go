package postmaster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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

// HasStandbySignal reports whether the server in data is, or would be started as, a standby. The server removes the file at the end of a
// promotion, whoever asked for it.
func HasStandbySignal(data string) (bool, error) {
	_, err := os.Stat(filepath.Join(data, "standby.signal"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for standby.signal: %w", err)
	}
	return true, nil
}
