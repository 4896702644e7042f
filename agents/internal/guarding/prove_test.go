package guarding

import (
	"log/slog"
	"os"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/seeding"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
)

// A server of this pod holds the lock, and the text still names the pod before, because a full or failing volume took no other: that must not be
// read as "another pod has the volume already", which would call a server buried that still runs.
func TestLockThatCouldNotBeSignedProvesNothing(t *testing.T) {
	before, own := volumelock.Holder{Pod: "db-0", UID: "before"}, volumelock.Holder{Pod: "db-0", UID: "own"}
	for name, c := range map[string]struct {
		signs volumelock.Holder // whose name the file bears
		held  bool
		lock  func(*volumelock.Lock) *volumelock.Lock
		want  bool
	}{
		"held_by_our_server":                            {own, true, signed, false},
		"held_and_named_by_the_pod_before_but_unsigned": {before, true, unsigned, false},
		"another_pod_has_it_after_ours_was_signed":      {before, true, signed, true},
		"free": {before, false, unsigned, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := &Guard{log: slog.New(slog.DiscardHandler)}
			g.config.Volume, g.config.PodUID = t.TempDir(), own.UID
			g.paths = g.config.Paths()
			if err := os.MkdirAll(g.paths.Notes(), 0o700); err != nil {
				t.Fatal(err)
			}
			lock, err := volumelock.Try(g.paths.Lock(), c.signs)
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			if !c.held {
				lock.Close()
			}
			l := &life{ready: &seeding.Ready{Lock: c.lock(lock)}}
			if got := g.free(l); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func signed(l *volumelock.Lock) *volumelock.Lock { return l }

func unsigned(*volumelock.Lock) *volumelock.Lock { return &volumelock.Lock{} }
