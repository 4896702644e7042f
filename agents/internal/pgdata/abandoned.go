package pgdata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// DropAbandoned removes the files of WAL whose timelines are not on the way to line, which the directory has just been rewound to: from 17 on pg_rewind
// keeps those that it has read, although it removes their histories, and a member with one would look diverged for ever. What they held has
// been given up and kept elsewhere before. The server must be down. It returns the names.
func DropAbandoned(dir string, line uint32) ([]string, error) {
	way := map[uint32]bool{line: true}
	known := line == 1
	text, err := os.ReadFile(HistoryFile(dir, line))
	switch {
	case err == nil:
		lines, err := timeline.ParseHistory(string(text))
		if err != nil {
			return nil, fmt.Errorf("look for abandoned timelines: %w", err)
		}
		for _, l := range lines {
			way[l.Timeline] = true
		}
		known = true
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("look for abandoned timelines: %w", err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "pg_wal"))
	if err != nil {
		return nil, fmt.Errorf("look for abandoned timelines: %w", err)
	}
	var dropped []string
	for _, e := range entries {
		parts := segmentName.FindStringSubmatch(e.Name())
		if parts == nil {
			continue
		}
		of, err := strconv.ParseUint(parts[1], 16, 32)
		if err != nil || way[uint32(of)] || !known && uint32(of) < line { // without its history an older line may be on the way
			continue
		}
		if err := durable.Remove(filepath.Join(dir, "pg_wal", e.Name())); err != nil {
			return dropped, fmt.Errorf("remove WAL of the abandoned timeline %d: %w", of, err)
		}
		dropped = append(dropped, e.Name())
	}
	return dropped, nil
}
