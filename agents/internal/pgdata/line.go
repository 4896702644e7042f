package pgdata

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// HistoryFile is where a timeline's history lies.
func HistoryFile(data string, line uint32) string {
	return filepath.Join(data, "pg_wal", fmt.Sprintf("%08X.history", line))
}

// LineAt returns the timeline of the WAL that ends at position at: the newest one of which the directory has the segment. The control file
// of a standby tells it only after the next restart point. segment is the size of a WAL file in bytes.
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
	return newest, nil
}
