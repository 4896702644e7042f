package engine

import (
	"maps"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	got := parseList("localhost/pgspan/agents:v1   sha256:0a1b  \n<none>:<none> sha256:ffff\nlocalhost/x:<none> sha256:eeee\n\nlocalhost:5000/y:z 0c\n")
	want := map[string]string{"localhost/pgspan/agents:v1": "0a1b", "localhost:5000/y:z": "0c"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFailingCommandSaysWhyAtTheEnd(t *testing.T) {
	_, err := Runner{}.Output(t.Context(), "sh", "-c", "seq 1 100; sleep 0.1; echo the reason >&2; exit 3")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"exit status 3", "the reason", "\n100"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n10\n") {
		t.Errorf("the whole log is in the error: %q", err)
	}
}
