package grant

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
)

func primary() Grant {
	return Grant{
		Format: Format, Seq: 7, Holder: Incarnation{"vol", "pod", "boot"}, Role: Primary, Reason: "holds the lease",
		Deadline: 1000, Epoch: epoch.Epoch{Local: 3}, Timeline: 4,
	}
}

func TestValidateRefusesWhatNoKeeperWrites(t *testing.T) {
	cases := map[string]struct {
		change func(*Grant)
		want   string
	}{
		"newer_format":              {func(g *Grant) { g.Format = Format + 1 }, "older than keeper's"},
		"no_format":                 {func(g *Grant) { g.Format = 0 }, "no format"},
		"unknown_role":              {func(g *Grant) { g.Role = "leader" }, "unknown role"},
		"primary_for_ever":          {func(g *Grant) { g.Deadline = 0 }, "no deadline"},
		"primary_without_epoch":     {func(g *Grant) { g.Epoch = epoch.Epoch{} }, "no epoch"},
		"primary_without_timeline":  {func(g *Grant) { g.Timeline = 0 }, "no timeline"},
		"replica_that_would_end":    {func(g *Grant) { g.Role = Replica }, "only a primary's grant ends"},
		"wait_that_would_be_lifted": {func(g *Grant) { g.Role = Wait }, "only a primary's grant ends"},
	}
	if err := primary().Validate(); err != nil {
		t.Fatalf("a proper grant is refused: %v", err)
	}
	for _, until := range []boottime.Instant{0, 1000} {
		stop := primary()
		stop.Role, stop.Deadline = Stop, until
		if err := stop.Validate(); err != nil {
			t.Errorf("a stop until %d is refused: %v", until, err)
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := primary()
			c.change(&g)
			err := g.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Validate() = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestValid(t *testing.T) {
	me := Incarnation{"vol", "pod", "boot"}
	cases := map[string]struct {
		me   Incarnation
		role Role
		now  boottime.Instant
		want bool
	}{
		"primary_before_its_end":           {me, Primary, 999, true},
		"primary_at_its_end":               {me, Primary, 1000, false},
		"another_pod_of_the_same_volume":   {Incarnation{"vol", "pod2", "boot"}, Primary, 1, false},
		"written_before_the_node_rebooted": {Incarnation{"vol", "pod", "boot2"}, Primary, 1, false},
		"replica_never_ends":               {me, Replica, 1 << 60, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := primary()
			if g.Role = c.role; c.role != Primary {
				g.Deadline = 0
			}
			if got := g.Valid(c.me, c.now); got != c.want {
				t.Errorf("Valid = %v, want %v", got, c.want)
			}
		})
	}
}

func TestFilesRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, ErrNone) {
		t.Fatalf("Read of nothing = %v, want ErrNone", err)
	}
	if _, err := ReadState(dir); !errors.Is(err, ErrNone) {
		t.Fatalf("ReadState of nothing = %v, want ErrNone", err)
	}
	want := primary()
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Read = %+v, %v; want %+v", got, err, want)
	}
	if err := WriteState(dir, State{Writer: "guard", Phase: Running, Server: Writable, Volume: &Volume{SystemID: "7"}}); err != nil {
		t.Fatal(err)
	}
	s, err := ReadState(dir)
	if err != nil || s.Volume == nil || s.Volume.SystemID != "7" || s.Format != Format {
		t.Errorf("ReadState = %+v, %v", s, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

func TestTornGrantIsAnErrorAndNotAnEmptyGrant(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, File), []byte(`{"format":1,"seq":7,"role":"prim`), 0o600); err != nil {
		t.Fatal(err)
	}
	if g, err := Read(dir); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("Read = %+v, %v; want an error that is not ErrNone", g, err)
	}
}
