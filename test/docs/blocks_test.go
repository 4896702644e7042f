package docs

import (
	"strings"
	"testing"
)

func TestBlocks(t *testing.T) {
	text := "# x\n```sh\necho one\n```\ntext\n```yaml\na: b\n```\n```sh\n# not run: needs a cloud\nrm -rf /\n```\n"
	got, err := Blocks("x.md", strings.NewReader(text))
	if err != nil || len(got) != 3 {
		t.Fatalf("Blocks = %v, %v", got, err)
	}
	script := Script(got)
	if !strings.Contains(script, "echo one") || strings.Contains(script, "rm -rf") || strings.Contains(script, "a: b") {
		t.Errorf("script = %q", script)
	}
	if got[2].Skip != "needs a cloud" || got[0].Line != 2 {
		t.Errorf("blocks = %+v", got)
	}
}

func TestBlocksRefuses(t *testing.T) {
	for name, text := range map[string]string{"fence_without_language": "```\nx\n```\n", "fence_never_closed": "```sh\nx\n"} {
		t.Run(name, func(t *testing.T) {
			if _, err := Blocks("x.md", strings.NewReader(text)); err == nil {
				t.Error("no error")
			}
		})
	}
}
