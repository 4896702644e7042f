package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// format is part of every hash. It grows when the tool changes what it makes of the same inputs.
const format = "1"

// Inputs identifies everything an image is made from. Two equal hashes mean that nothing needs to be built.
type Inputs struct{ h hash.Hash }

// NewInputs starts a hash.
func NewInputs() *Inputs {
	in := &Inputs{h: sha256.New()}
	in.Add("format", format)
	return in
}

// Add takes in a named value. Lengths are written too, so that values cannot run into one another.
func (in *Inputs) Add(name, value string) {
	fmt.Fprintf(in.h, "%d:%s%d:%s", len(name), name, len(value), value)
}

// AddMap takes in a map in the order of its keys.
func (in *Inputs) AddMap(values map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		in.Add(name, values[name])
	}
}

// AddDir takes in every regular file below a directory: path, executable bit and content.
func (in *Inputs) AddDir(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		content := sha256.New()
		if _, err := io.Copy(content, f); err != nil {
			return err
		}
		in.Add(filepath.ToSlash(name), fmt.Sprintf("%v %x", info.Mode()&0o111 != 0, content.Sum(nil)))
		return nil
	})
}

// Sum is the hash, short enough for a tag.
func (in *Inputs) Sum() string { return hex.EncodeToString(in.h.Sum(nil))[:16] }
