package podenv

import (
	"slices"
	"strings"
	"testing"

	"github.com/kelseyhightower/envconfig"
)

type config struct {
	Pod
	Own string `envconfig:"PGSPAN_OWN"`
}

func TestEmbeddedVariablesAreReadByTheirFullNames(t *testing.T) {
	t.Setenv("PGSPAN_POD_NAME", "db-primary-0")
	t.Setenv("PGSPAN_POD_UID", "1-2-3")
	t.Setenv("PGSPAN_MEMORY_LIMIT", "512Mi")
	t.Setenv("PGSPAN_OWN", "x")
	t.Setenv("TLS", "/wrong") // a name without our prefix must mean nothing
	var c config
	if err := envconfig.Process("", &c); err != nil {
		t.Fatal(err)
	}
	if c.PodName != "db-primary-0" || c.MemoryLimit != 512<<20 || c.Own != "x" || c.TLS != "/pgspan/tls" || c.Volume != "/var/lib/pgspan" {
		t.Errorf("got %+v", c)
	}
	if problems := c.Validate(); len(problems) != 0 {
		t.Errorf("problems: %v", problems)
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	p := Pod{Control: "control", BornAs: "master", MemoryLimit: -1, CloneMaxRate: 5, Socket: "/" + strings.Repeat("s", 100)}
	got := strings.Join(p.Validate(), "\n")
	for _, want := range []string{
		"PGSPAN_CONTROL", "PGSPAN_POD_NAME", "PGSPAN_POD_UID", "PGSPAN_BORN_AS", "PGSPAN_MEMORY_LIMIT", "PGSPAN_CLONE_MAX_RATE", "PGSPAN_CLONE_STALL", "PGSPAN_SOCKET is 101",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no word about %s in:\n%s", want, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"": 0, "0": 0, "17": 17, "1k": 1000, "2Ki": 2048, "3Gi": 3 << 30, "\t5M\n": 5e6} {
		var s Size
		if err := s.Decode(text); err != nil || s != want {
			t.Errorf("%q: got %d %v, want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"x", "-1", "1.5Gi", "5MB", "9223372036854775807Ti", "99999999999999999999"} {
		var s Size
		if err := s.Decode(text); err == nil {
			t.Errorf("%q: got %d and no error", text, s)
		}
	}
}

func TestOrderOfProblemsDoesNotMatterButEachIsThereOnce(t *testing.T) {
	problems := Pod{}.Validate()
	slices.Sort(problems)
	if len(slices.Compact(slices.Clone(problems))) != len(problems) {
		t.Errorf("a problem is reported twice: %v", problems)
	}
}
