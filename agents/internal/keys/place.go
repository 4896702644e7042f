package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/durable"
)

const (
	setPrefix  = "..set-" // begins the name of each set's directory
	nextSuffix = "_next"  // ends the name of a link before it is moved over the one it replaces
)

// Result is what is in place after [Place].
type Result struct {
	Changed      bool // the server must be told to reload
	Certificates []Certificate
}

// First is the certificate that ends first.
func (r Result) First() Certificate {
	first := r.Certificates[0]
	for _, c := range r.Certificates {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	return first
}

// Place checks the pairs in src and puts them into dst. After an error dst holds what it held before; [Read] says whether
// that is still good. One caller at a time: a directory that another caller is filling would be cleared away.
func Place(src, dst string, want []Want, now time.Time) (Result, error) {
	set, err := Read(src, want, now)
	if err != nil {
		return Result{}, err
	}
	result := Result{Certificates: set.Certificates()}
	if err := os.MkdirAll(dst, 0o700); err != nil {
		return Result{}, fmt.Errorf("place keys: %w", err)
	}
	if !inPlace(dst, set.files) {
		if err := replace(dst, set.files); err != nil {
			return Result{}, fmt.Errorf("place keys: %w", err)
		}
		result.Changed = true
	}
	if err := tidy(dst, set.files); err != nil {
		return Result{}, fmt.Errorf("place keys: %w", err)
	}
	return result, nil
}

// inPlace tells whether dst holds exactly these files, with the owner and the modes that PostgreSQL asks for. Whatever
// cannot be read does not count as in place.
func inPlace(dst string, files map[string][]byte) bool {
	dir := filepath.Join(dst, data)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(files) {
		return false
	}
	for name, content := range files {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != 0o600 || !ownedByUs(info) {
			return false
		}
		if placed, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(placed, content) {
			return false
		}
	}
	return true
}

// replace writes a directory with the whole set and then moves the one link to it.
func replace(dst string, files map[string][]byte) error {
	dir, err := os.MkdirTemp(dst, setPrefix) // 0700
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := writeNew(filepath.Join(dir, name), content); err != nil {
			return err // the next call clears the directory away
		}
	}
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	return link(filepath.Base(dir), filepath.Join(dst, data))
}

// writeNew makes a file 0600 from birth; the chmod is for an umask that takes bits from the owner.
func writeNew(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Chmod(0o600), file.Sync(), file.Close())
}

// link makes path a symbolic link to target, in place of whatever was there.
func link(target, path string) error {
	temp := path + nextSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	return durable.Rename(temp, path)
}

// tidy makes the names in dst lead to the set, and removes what no longer belongs: sets of before, sets that a killed
// process left half written, names of files that are no longer part of the set.
func tidy(dst string, files map[string][]byte) error {
	for name := range files {
		path, target := filepath.Join(dst, name), filepath.Join(data, name)
		if present, err := os.Readlink(path); err == nil && present == target {
			continue
		}
		if err := link(target, path); err != nil {
			return err
		}
	}
	current, err := os.Readlink(filepath.Join(dst, data))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dst)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(dst, entry.Name())
		_, wanted := files[name]
		target, _ := os.Readlink(path)
		stale := strings.HasPrefix(name, setPrefix) && name != current || strings.HasSuffix(name, nextSuffix) ||
			strings.HasPrefix(target, data+"/") && !wanted
		if !stale {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}
