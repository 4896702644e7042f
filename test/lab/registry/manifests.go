package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxManifest is far above any manifest's size, and far below what would fill the memory.
const maxManifest = 8 << 20

// manifests keeps the pushed manifests on disk; the registry below keeps only blobs there. At a start it pushes them
// again, in their old order, because an index is refused before what it lists.
type manifests struct {
	dir  string
	next http.Handler
}

// pushed is one manifest as it came.
type pushed struct {
	Path        string    `json:"path"`
	ContentType string    `json:"contentType"`
	At          time.Time `json:"at"`
	Body        []byte    `json:"body"`
}

func (m manifests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
		m.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxManifest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	m.next.ServeHTTP(answer, r)
	if answer.Code/100 == 2 {
		p := pushed{Path: r.URL.Path, ContentType: r.Header.Get("Content-Type"), At: time.Now().UTC(), Body: body}
		if err := m.keep(p); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// keep writes a manifest to a file named for its tag, so that a tag pushed again replaces the old one.
func (m manifests) keep(p pushed) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("keep manifest: %w", err)
	}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return fmt.Errorf("keep manifest: %w", err)
	}
	name := sha256.Sum256([]byte(p.Path))
	file := filepath.Join(m.dir, hex.EncodeToString(name[:])+".json")
	unfinished := file + ".new"
	if err := os.WriteFile(unfinished, data, 0o644); err != nil {
		return fmt.Errorf("keep manifest: %w", err)
	}
	if err := os.Rename(unfinished, file); err != nil {
		return fmt.Errorf("keep manifest: %w", err)
	}
	return nil
}

// replay gives the registry all kept manifests.
func (m manifests) replay() error {
	files, err := filepath.Glob(filepath.Join(m.dir, "*.json"))
	if err != nil {
		return fmt.Errorf("read kept manifests: %w", err)
	}
	var all []pushed
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read kept manifest: %w", err)
		}
		var p pushed
		if err := json.Unmarshal(data, &p); err != nil {
			return fmt.Errorf("read kept manifest %s: %w", file, err)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b pushed) int { return a.At.Compare(b.At) })
	for _, p := range all {
		request := httptest.NewRequest(http.MethodPut, p.Path, bytes.NewReader(p.Body))
		request.Header.Set("Content-Type", p.ContentType)
		answer := httptest.NewRecorder()
		m.next.ServeHTTP(answer, request)
		if answer.Code/100 != 2 {
			return fmt.Errorf("give back manifest %s: %d %s", p.Path, answer.Code, answer.Body.String())
		}
	}
	return nil
}
