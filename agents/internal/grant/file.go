package grant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names inside the control directory. File is exported for those who watch for changes.
const (
	File      = "grant"
	stateFile = "state"
	memoFile  = "memo"
)

// ErrNone is returned when the file was never written.
var ErrNone = errors.New("not written yet")

// Read returns the grant in the control directory; ErrNone (wrapped) when keeper has not written one.
func Read(dir string) (Grant, error) {
	var g Grant
	if err := read(filepath.Join(dir, File), &g); err != nil {
		return Grant{}, fmt.Errorf("read grant: %w", err)
	}
	if err := g.Validate(); err != nil {
		return Grant{}, fmt.Errorf("read grant: %w", err)
	}
	return g, nil
}

// Write replaces the grant.
func Write(dir string, g Grant) error {
	g.Format = Format
	if err := g.Validate(); err != nil {
		return fmt.Errorf("write grant: %w", err)
	}
	if err := replace(filepath.Join(dir, File), g); err != nil {
		return fmt.Errorf("write grant: %w", err)
	}
	return nil
}

// ReadState returns the state in the control directory; ErrNone (wrapped) when neither seed nor guard has written one.
func ReadState(dir string) (State, error) {
	var s State
	if err := read(filepath.Join(dir, stateFile), &s); err != nil {
		return State{}, fmt.Errorf("read state: %w", err)
	}
	return s, nil
}

// WriteState replaces the state.
func WriteState(dir string, s State) error {
	s.Format = Format
	if err := replace(filepath.Join(dir, stateFile), s); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// ReadMemo fills v with what keeper keeps in the control directory for its own next process; ErrNone (wrapped) when there is nothing.
func ReadMemo(dir string, v any) error {
	if err := read(filepath.Join(dir, memoFile), v); err != nil {
		return fmt.Errorf("read keeper's memo: %w", err)
	}
	return nil
}

// WriteMemo replaces that. One that cannot be replaced is removed: an old one might be believed.
func WriteMemo(dir string, v any) error {
	path := filepath.Join(dir, memoFile)
	if err := replace(path, v); err != nil {
		return fmt.Errorf("write keeper's memo: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

func read(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNone
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// replace renames a complete file into place. There is no fsync: the directory is memory and must not outlive the pod.
func replace(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
