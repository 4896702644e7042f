package settings

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
)

// Reader reads one directory's settings again and again, and parses them only when their text has changed: several loops of an agent look every
// second. Many goroutines may use one.
type Reader struct {
	// Dir is the mounted directory.
	Dir string

	mu   sync.Mutex
	text []byte
	last Settings
	err  error
}

// Read is Read of the directory. The maps and lists of what it returns are shared: they are not to be changed.
func (r *Reader) Read() (Settings, error) {
	b, err := os.ReadFile(filepath.Join(r.Dir, File))
	if err != nil {
		return Settings{}, unread(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.text == nil || !bytes.Equal(b, r.text) {
		r.text = b
		r.last, r.err = Parse(b)
	}
	return r.last, r.err
}
