package pgdata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/pgspan/pgspan/agents/internal/durable"
)

// stub is a timeline of which the directory has nothing but the beginning of what an older timeline's file holds, and zeros. Two ways lead there:
//
//   - a promotion was killed after it had copied the last file of WAL for its new timeline, before or after it had written that one's history;
//   - a standby that had just begun to follow a new timeline was killed when it had received the first part of that one's first file. The rest, up to
//     where the timeline begins, stands in the file of before, but PostgreSQL reads the newest timeline's file and stops where that one stops.
//
// Nothing is lost with it, and left in place it makes a member look diverged, or to have less than it has.
type stub struct {
	line    uint32
	segment string // path
}

// findStub looks for one above known, the newest timeline that the control file tells of; nil: there is none.
func findStub(dir string, known uint32, size int64) (*stub, error) {
	segments, err := Segments(dir, size)
	if err != nil {
		return nil, err
	}
	newest := known
	for _, s := range segments {
		newest = max(newest, s.Timeline)
	}
	of := slices.DeleteFunc(slices.Clone(segments), func(s Segment) bool { return s.Timeline != newest })
	if newest == known || len(of) != 1 {
		return nil, nil
	}
	var older Segment
	for _, s := range segments {
		if s.Timeline < newest && s.Timeline > older.Timeline && s.Start == of[0].Start {
			older = s
		}
	}
	if older.Timeline == 0 {
		return nil, nil
	}
	path := filepath.Join(dir, "pg_wal", of[0].Name)
	same, err := beginningOf(path, filepath.Join(dir, "pg_wal", older.Name))
	if err != nil || !same {
		return nil, err
	}
	return &stub{line: newest, segment: path}, nil
}

// beginningOf reports whether a file is the beginning of another one, all of it or none, with nothing but zeros after that.
func beginningOf(path, whole string) (bool, error) {
	a, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := os.Open(whole)
	if err != nil {
		return false, err
	}
	defer b.Close()
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	zeros := make([]byte, len(p))
	for apart := false; ; {
		n, err := io.ReadFull(a, p)
		if n == 0 && errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		m, err := io.ReadFull(b, q)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return false, err
		}
		rest := p[:n]
		if !apart {
			k := 0
			for k < min(n, m) && p[k] == q[k] {
				k++
			}
			rest, apart = p[k:n], k < n
		}
		if !bytes.Equal(rest, zeros[:len(rest)]) {
			return false, nil
		}
	}
}

// DropStub removes such a timeline's history and then its file: what is left after the first step is a stub still. The server must be down, and
// is to be started as a standby, which asks its leader for both again if they are of its leader's way. It returns the timeline; 0: there was none.
func DropStub(dir string, c Control) (uint32, error) {
	s, err := findStub(dir, c.NewestTimeline(), c.WALSegment)
	if err != nil {
		return 0, fmt.Errorf("look for a timeline that was only begun: %w", err)
	}
	if s == nil {
		return 0, nil
	}
	for _, path := range []string{HistoryFile(dir, s.line), s.segment} {
		if err := durable.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("remove timeline %d, which was only begun: %w", s.line, err)
		}
	}
	return s.line, nil
}
