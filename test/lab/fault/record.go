package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pgspan/pgspan/test/lab/host"
)

func recordFile() string { return filepath.Join(host.Small, "faults.json") }

// InForce lists the faults in force, the oldest first.
func InForce() ([]Fault, error) {
	data, err := os.ReadFile(recordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	var list []Fault
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	return list, nil
}

// Record remembers the faults in force.
func Record(list []Fault) error {
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("record faults: %w", err)
	}
	unfinished := recordFile() + ".new"
	if err := os.WriteFile(unfinished, data, 0o644); err != nil {
		return fmt.Errorf("record faults: %w", err)
	}
	if err := os.Rename(unfinished, recordFile()); err != nil {
		return fmt.Errorf("record faults: %w", err)
	}
	return nil
}
