package seeding

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
)

// cleanAuto takes settings that are ours out of postgresql.auto.conf, which a base backup brings along and which wins over every file.
func (s *seeder) cleanAuto(r *Ready) error {
	path := filepath.Join(s.paths.Data(), "postgresql.auto.conf")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean postgresql.auto.conf: %w", err)
	}
	clean, removed := pgconf.CleanAuto(string(text), pgconf.Input{Major: r.Tools.Major, Settings: r.Settings})
	if len(removed) == 0 {
		return nil
	}
	if err := durable.WriteFile(path, []byte(clean), 0o600); err != nil {
		return fmt.Errorf("clean postgresql.auto.conf: %w", err)
	}
	s.Log.Warn("settings of ALTER SYSTEM removed, because they are ours", "settings", strings.Join(removed, ", "))
	return nil
}
