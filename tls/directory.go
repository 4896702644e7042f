package sitecerts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// ReadDirectory reads a bundle from a directory. Files that are not there are left out, as is a directory.
func ReadDirectory(dir string) (Bundle, error) {
	bundle := Bundle{}
	for _, name := range append(Files(), CAKey) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		bundle[name] = data
	}
	return bundle, nil
}

// WriteDirectory writes the bundle's files, each 0600 from birth. All are on disk before the first takes its place,
// the CA first of all: a leaf can be issued again, the CA of running sites cannot.
func WriteDirectory(dir string, bundle Bundle) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory for certificates: %w", err)
	}
	var temps []string
	defer func() {
		for _, temp := range temps {
			_ = os.Remove(temp) // gone already, unless something went wrong
		}
	}()
	names := slices.DeleteFunc(append([]string{CAKey}, Files()...), func(name string) bool { return bundle[name] == nil })
	for _, name := range names {
		temp, err := writeTemp(dir, name, bundle[name])
		if temp != "" {
			temps = append(temps, temp)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	for i, name := range names {
		if err := os.Rename(temps[i], filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("put %s in place: %w", name, err)
		}
	}
	return syncDirectory(dir)
}

// WriteFile writes one file, 0600 from birth, in the same way.
func WriteFile(path string, data []byte) error {
	dir, name := filepath.Split(filepath.Clean(path))
	if dir == "" {
		dir = "."
	}
	temp, err := writeTemp(dir, name, data)
	if err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(temp, path); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("put %s in place: %w", name, err)
	}
	return syncDirectory(dir)
}

// writeTemp returns the name of the file also when it could not be completed, for the caller to remove.
func writeTemp(dir, name string, data []byte) (string, error) {
	file, err := os.CreateTemp(dir, "."+name+".*") // CreateTemp makes files 0600
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	return file.Name(), errors.Join(err, file.Sync(), file.Close())
}

func syncDirectory(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(handle.Sync(), handle.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
