package pgdata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// HistoryFile is where a timeline's history lies.
func HistoryFile(data string, line uint32) string {
	return filepath.Join(data, "pg_wal", fmt.Sprintf("%08X.history", line))
}

// LineAt returns the timeline of the WAL that ends at position at: the newest one of which the directory has the segment, or, where that one's
// history says that it begins at at or later, the one that it came from: the file of a new timeline holds the end of the old one too. The control
// file of a standby tells it only after the next restart point. segment is the size of a WAL file in bytes.
func LineAt(data string, at lsn.LSN, segment int64) (uint32, error) {
	if at == 0 || segment <= 0 {
		return 0, fmt.Errorf("find the timeline: no position or no segment size")
	}
	per := uint64(1<<32) / uint64(segment)
	n := (uint64(at) - 1) / uint64(segment)
	name := fmt.Sprintf("%08X%08X", n/per, n%per)
	files, err := filepath.Glob(filepath.Join(data, "pg_wal", "????????"+name))
	if err != nil {
		return 0, fmt.Errorf("find the timeline: %w", err)
	}
	var newest uint32
	for _, f := range files {
		if line, err := strconv.ParseUint(filepath.Base(f)[:8], 16, 32); err == nil {
			newest = max(newest, uint32(line))
		}
	}
	if newest == 0 {
		return 0, fmt.Errorf("find the timeline: no WAL file holds %s", at)
	}
	text, err := os.ReadFile(HistoryFile(data, newest))
	if errors.Is(err, fs.ErrNotExist) {
		return newest, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find the timeline: %w", err)
	}
	lines, err := timeline.ParseHistory(string(text))
	if err != nil {
		return 0, fmt.Errorf("find the timeline: %w", err)
	}
	for _, l := range slices.Backward(lines) {
		if at > l.End {
			break
		}
		newest = l.Timeline
	}
	return newest, nil
}
