package guarding

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/report"
)

func TestDiskIsTriedBesideTheNotes(t *testing.T) {
	dir := t.TempDir()
	g := &Guard{paths: layout.In(dir), report: report.New(t.TempDir(), grant.State{}, slog.New(slog.DiscardHandler))}
	if _, tried := g.writeDisk(); tried {
		t.Error("a volume without notes was written to")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("a volume that is nobody's holds %v, %v", left, err)
	}
	if err := os.Mkdir(g.paths.Notes(), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d, tried := g.writeDisk()
		if !tried || d.Problem != "" || d.At == 0 || d.Since != 0 || d.Seconds < 0 || d.Seconds > 10 {
			t.Errorf("got %+v, tried %v", d, tried)
		}
	}
	file := filepath.Join(g.paths.Notes(), diskFile)
	if info, err := os.Stat(file); err != nil || info.Size() != 4096 {
		t.Errorf("got %v, %v; want one page, written over", info, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if d, tried := g.writeDisk(); !tried || d.Problem == "" || d.At == 0 {
		t.Errorf("a write that fails: got %+v", d)
	}
}
