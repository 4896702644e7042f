package guarding

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/fence"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

// reading is a reader of the grants in dir, which runs until the test ends, and how to let keeper write the next one there: it returns how
// long that took to be read.
func reading(t *testing.T, dir string) (next func() time.Duration) {
	gs := newGrants(dir, grant.Incarnation{Pod: me.Pod, Boot: me.Boot}, 0, fence.New(nobody{}), slog.New(slog.DiscardHandler))
	g := *toPrimary(third, 0)
	g.Holder, g.Deadline = me, boottime.Now().Add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { gs.run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return func() time.Duration {
		t.Helper()
		g.Seq++
		began := time.Now()
		write(t, dir, g)
		for end := began.Add(20 * trusting); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if got := gs.newest.Load(); got != nil && got.Seq == g.Seq {
				return time.Since(began)
			}
		}
		t.Fatalf("grant %d was never read", g.Seq)
		return 0
	}
}

// fewerThan fails where more than a few of the times are over the limit: a busy machine may be late now and then.
func fewerThan(t *testing.T, limit time.Duration, next func() time.Duration) {
	t.Helper()
	const rounds = 10
	slow := 0
	for i := range rounds {
		time.Sleep(time.Duration(i) * 37 * time.Millisecond) // any moment between two looks
		if next() > limit {
			slow++
		}
	}
	if slow > rounds/3 {
		t.Errorf("%d of %d grants were read later than %v", slow, rounds, limit)
	}
}

func TestGrantIsReadWhenItIsWritten(t *testing.T) {
	next := reading(t, t.TempDir())
	next()
	fewerThan(t, poll, next)
}

func TestBlindWatchIsNotTrusted(t *testing.T) {
	dir := t.TempDir()
	next := reading(t, dir)
	next()
	// What is watched is another directory than what is read from here on.
	if err := os.Rename(dir, dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir + "-gone") })
	next()
	next()
	fewerThan(t, 2*poll, next)
}
