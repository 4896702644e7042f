package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Spec says what to make.
type Spec struct {
	Name  string
	Bytes int64
	// Labels say whose volume it is; the store keeps them and does not read them.
	Labels map[string]string
	// Exclusive volumes are mounted only between Attach and Detach, for one holder at a time. Others are mounted as
	// long as the store is open.
	Exclusive bool
}

// Faults are what is wrong with a volume on purpose.
type Faults struct {
	// FillPercent is up to where the volume was filled, 0 for not at all.
	FillPercent int `json:"fillPercent,omitempty"`
	// Limit is how slow the disk is.
	Limit Limit `json:"limit,omitzero"`
	// Hung says that no write, and no read from the disk, comes back.
	Hung bool `json:"hung,omitempty"`
}

// record is what must outlive the process.
type record struct {
	Name      string            `json:"name"`
	Bytes     int64             `json:"bytes"`
	Labels    map[string]string `json:"labels,omitempty"`
	Exclusive bool              `json:"exclusive,omitempty"`
	Holder    string            `json:"holder,omitempty"`
	Created   time.Time         `json:"created"`
	Faults    Faults            `json:"faults,omitzero"`
}

// ErrNotFound is returned for a volume or snapshot that does not exist.
var ErrNotFound = errors.New("no such volume")

// Kubernetes' own names for objects, so that a volume can be called like its PersistentVolume, and nothing that
// could leave the store's folders.
var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q is no name for a volume: use lower-case letters, digits, '-' and '.'", name)
	}
	return nil
}

// shelf is a folder of images with their records: the volumes, or the snapshots.
type shelf string

func (s shelf) image(name string) string  { return filepath.Join(string(s), name+".xfs") }
func (s shelf) record(name string) string { return filepath.Join(string(s), name+".json") }

func (s shelf) read(name string) (record, error) {
	if err := checkName(name); err != nil {
		return record{}, err
	}
	raw, err := os.ReadFile(s.record(name))
	if errors.Is(err, os.ErrNotExist) {
		return record{}, fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	if err != nil {
		return record{}, fmt.Errorf("read the record of %s: %w", name, err)
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return record{}, fmt.Errorf("read the record of %s: %w", name, err)
	}
	return r, nil
}

// write puts the record in place whole or not at all. It is the last step of making a volume: an image without a
// record is the rest of a creation that was cut short.
func (s shelf) write(r record) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the record of %s: %w", r.Name, err)
	}
	temp := s.record(r.Name) + ".new"
	if err := os.WriteFile(temp, raw, 0o644); err != nil {
		return fmt.Errorf("write the record of %s: %w", r.Name, err)
	}
	if err := os.Rename(temp, s.record(r.Name)); err != nil {
		return fmt.Errorf("write the record of %s: %w", r.Name, err)
	}
	return nil
}

// remove takes the record first: from then on the volume does not exist.
func (s shelf) remove(name string) error {
	for _, file := range []string{s.record(name), s.image(name)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("delete %s: %w", name, err)
		}
	}
	return nil
}

func (s shelf) list() ([]record, error) {
	files, err := filepath.Glob(filepath.Join(string(s), "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s, err)
	}
	slices.Sort(files)
	records := make([]record, 0, len(files))
	for _, file := range files {
		r, err := s.read(strings.TrimSuffix(filepath.Base(file), ".json"))
		// Deleted between the two looks.
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

func (r record) spec() Spec {
	return Spec{Name: r.Name, Bytes: r.Bytes, Labels: maps.Clone(r.Labels), Exclusive: r.Exclusive}
}
