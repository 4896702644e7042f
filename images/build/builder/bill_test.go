package builder

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestBillOfAgents(t *testing.T) {
	b, unique := open(t, "v1")
	built := build(t, b, agents(t, b, unique))
	path := filepath.Join(b.Dist, "sbom", "x.spdx.json")
	count, err := b.WriteBill(t.Context(), built[0], path)
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "pkg:golang/stdlib@" + strings.TrimPrefix(runtime.Version(), "go")
	if count != 2 || !strings.Contains(string(document), want) {
		t.Errorf("got %d packages, want Go's library (%s) and our module in\n%s", count, want, document)
	}
}
