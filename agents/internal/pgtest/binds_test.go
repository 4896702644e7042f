package pgtest

import (
	"strings"
	"testing"
)

func TestBoundFileIsSeenByOneProcessOnly(t *testing.T) {
	root := OpenRoot(t, 17)
	dir := root.TempDir(t)
	root.WriteFile(t, dir+"/passwd", []byte("somebody:x:54321:54321::/:/bin/sh\n"), 0o644)
	id := Command{Path: "id", Args: []string{"-un"}, UID: 54321, GID: 54321}
	if out, err := root.Run(id); err == nil {
		t.Errorf("without the file the user has the name %q", out)
	}
	id.Binds = map[string]string{"/etc/passwd": dir + "/passwd"}
	out, err := root.Run(id)
	if err != nil || strings.TrimSpace(out) != "somebody" {
		t.Errorf("got %q, %v; want somebody", out, err)
	}
}
