package report

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

func TestBeatGoesOnWhenNothingChanges(t *testing.T) {
	dir := t.TempDir()
	r := New(dir, grant.State{Writer: "seed", Phase: grant.Waiting}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()

	first := waitState(t, dir, func(s grant.State) bool { return s.Beat > 0 })
	waitState(t, dir, func(s grant.State) bool { return s.Beat > first.Beat && s.Phase == grant.Waiting })
}

func TestChangeIsWrittenAtOnceAndLoggedOnce(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	r := New(dir, grant.State{Writer: "guard"}, slog.New(slog.NewJSONHandler(&log, nil)))
	for range 3 {
		r.Update(func(s *grant.State) { s.Phase, s.Reason = grant.Refused, "wrong owner" })
	}
	s, err := grant.ReadState(dir)
	if err != nil || s.Reason != "wrong owner" || s.Writer != "guard" {
		t.Errorf("got %+v, %v", s, err)
	}
	if n := strings.Count(log.String(), "wrong owner"); n != 1 || !strings.Contains(log.String(), `"ERROR"`) {
		t.Errorf("log has it %d times: %s", n, log.String())
	}
}

func TestFullControlVolumeDoesNotStopTheCaller(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	var log bytes.Buffer
	r := New(gone, grant.State{}, slog.New(slog.NewJSONHandler(&log, nil)))
	for range 3 {
		r.Update(func(s *grant.State) { s.Seq++ })
	}
	if err := r.Flush(); err == nil {
		t.Error("Flush: got no error")
	}
	if n := strings.Count(log.String(), "cannot be reported"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	r.Update(func(s *grant.State) { s.Seq++ })
	if !strings.Contains(log.String(), "reported again") {
		t.Error("the recovery is not logged")
	}
}

func waitState(t *testing.T, dir string, ok func(grant.State) bool) grant.State {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if s, err := grant.ReadState(dir); err == nil && ok(s) {
			return s
		}
	}
	t.Fatal("the state did not come")
	return grant.State{}
}
