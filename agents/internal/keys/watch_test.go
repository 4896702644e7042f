package keys

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// watching runs Watch with Place and reports each result that says changed.
func watching(t *testing.T, m *mount, dst string, poll time.Duration) <-chan struct{} {
	t.Helper()
	changed := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, m.dir, poll, slog.New(slog.DiscardHandler), func() {
			if result, err := Place(m.dir, dst, Database(), t0); err == nil && result.Changed {
				changed <- struct{}{}
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("Watch did not end with its context")
		}
	})
	return changed
}

func waitFor(t *testing.T, changed <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was not noticed", what)
	}
}

func TestRotatedSecretIsPlacedByTheWatch(t *testing.T) {
	bundle := generate(t, oneSite(), t0)
	m, dst := newMount(t, bundle.Shared()), t.TempDir()
	changed := watching(t, m, dst, time.Hour) // the poll cannot help
	waitFor(t, changed, "the first set")
	for range 3 {
		bundle = renew(t, bundle, oneSite(), t0)
		m.rotate(bundle.Shared())
		waitFor(t, changed, "a rotation")
		assertPlaced(t, dst, bundle, Database())
	}
	stranger := generate(t, oneSite(), t0)
	m.rotate(with(bundle, stranger, "server.key").Shared())
	bundle = renew(t, bundle, oneSite(), t0)
	m.rotate(bundle.Shared())
	waitFor(t, changed, "the rotation after a refused one")
	assertPlaced(t, dst, bundle, Database())
}

func TestWatchThatIsNotPossibleFallsBackToThePoll(t *testing.T) {
	var text bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	Watch(ctx, filepath.Join(t.TempDir(), "none"), 10*time.Millisecond, slog.New(slog.NewJSONHandler(&text, nil)), func() {
		if looks++; looks == 5 {
			cancel()
		}
	})
	if looks != 5 {
		t.Errorf("got %d looks, want 5", looks)
	}
	if got := strings.Count(text.String(), "polling only"); got != 1 {
		t.Errorf("the log says %d times that it polls only, want once:\n%s", got, text.String())
	}
}
