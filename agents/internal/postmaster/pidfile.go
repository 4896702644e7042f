package postmaster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Lines of postmaster.pid, counted from 0 (PostgreSQL's pidfile.h counts from 1).
const (
	linePID    = 0
	lineStatus = 7
)

// Status is what the postmaster says of itself in postmaster.pid.
type Status string

const (
	// Unknown: there is no postmaster.pid, it is half written, or it is another process's.
	Unknown Status = ""
	// Starting: recovery goes on and no connection is accepted.
	Starting Status = "starting"
	// StoppingStatus: a shutdown is under way.
	StoppingStatus Status = "stopping"
	// Ready: connections are accepted, be it as a primary or as a hot standby.
	Ready Status = "ready"
	// StandbyStatus: recovery goes on in a standby with hot_standby off; it will never accept connections.
	StandbyStatus Status = "standby"
)

// Accepts reports whether the postmaster has got as far as it will: it serves, or it recovers for ever by request.
func (s Status) Accepts() bool { return s == Ready || s == StandbyStatus }

// ReadStatus reads what the postmaster with that process id says. A file of another process is of an earlier life and says nothing.
func ReadStatus(data string, pid int) (Status, error) {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return Unknown, nil
	}
	if err != nil {
		return Unknown, fmt.Errorf("read postmaster.pid: %w", err)
	}
	return parseStatus(b, pid), nil
}

func parseStatus(b []byte, pid int) Status {
	lines := bytes.Split(b, []byte{'\n'})
	if len(lines) <= lineStatus {
		return Unknown // the postmaster writes the status when it has everything else
	}
	if owner, err := strconv.Atoi(string(bytes.TrimSpace(lines[linePID]))); err != nil || owner != pid {
		return Unknown
	}
	switch s := Status(bytes.TrimSpace(lines[lineStatus])); s {
	case Starting, StoppingStatus, Ready, StandbyStatus:
		return s
	default:
		return Unknown
	}
}

// RemoveSockets removes the sockets, and their lock files, that a postmaster which is proven dead has left in a directory that no other
// server uses. The directory outlives a container that is killed, and the lock file has a process id in it, like postmaster.pid: in the
// next container that id is taken again, by guard's own threads among others, and no server would ever start (SAFETY D34).
func RemoveSockets(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, ".s.PGSQL.*"))
	if err != nil {
		return fmt.Errorf("remove stale sockets: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove stale sockets: %w", err)
		}
	}
	return nil
}
