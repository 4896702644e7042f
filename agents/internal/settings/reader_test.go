package settings

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestReaderSeesEachChange(t *testing.T) {
	r := Reader{Dir: t.TempDir()}
	for _, step := range []struct {
		name, text string // no text: the file is away
		release    string
		err        error
	}{
		{"no file yet", "", "", fs.ErrNotExist},
		{"the first text", "release: db\n", "db", nil},
		{"the same text", "release: db\n", "db", nil},
		{"another of the same length", "release: bd\n", "bd", nil},
		{"one that is wrong", "release: []\n", "", ErrWrong},
		{"still wrong", "release: []\n", "", ErrWrong},
		{"the file is away", "", "", fs.ErrNotExist},
		{"right again", "release: bd\n", "bd", nil},
		{"a file that is empty", "\n", "", ErrWrong},
	} {
		path := filepath.Join(r.Dir, File)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if step.text != "" {
			if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := r.Read()
		if got.Release != step.release || !errors.Is(err, step.err) {
			t.Errorf("%s: got %q, %v, want %q, %v", step.name, got.Release, err, step.release, step.err)
		}
	}
}
