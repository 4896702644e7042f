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

// SetAbandonedAside takes the files of WAL whose timelines are not on the way to line, which the directory has just been rewound to, out of it: from 17 on
// pg_rewind keeps those that it has read, although it removes their histories, and a member with one would look diverged for ever. They go to the
// directory kept, on the same volume, unless what is given up was copied there before: there may have been no room for that. The server must be
// down. It returns the names.
func SetAbandonedAside(dir, kept string, line uint32) ([]string, error) {
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
	var aside []string
	for _, e := range entries {
		parts := segmentName.FindStringSubmatch(e.Name())
		if parts == nil {
			continue
		}
		of, err := strconv.ParseUint(parts[1], 16, 32)
		if err != nil || way[uint32(of)] || !known && uint32(of) < line { // without its history an older line may be on the way
			continue
		}
		if err := setAside(filepath.Join(dir, "pg_wal", e.Name()), kept); err != nil {
			return aside, fmt.Errorf("set WAL of the abandoned timeline %d aside: %w", of, err)
		}
		aside = append(aside, e.Name())
	}
	return aside, nil
}

// setAside moves a file into a directory that may have it already.
func setAside(file, to string) error {
	copied := filepath.Join(to, filepath.Base(file))
	switch _, err := os.Stat(copied); {
	case err == nil:
		return durable.Remove(file)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	return durable.Rename(file, copied)
}
