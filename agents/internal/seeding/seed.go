package seeding

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/podenv"
	"github.com/pgspan/pgspan/agents/internal/report"
)

// Seed is the whole of the init container: it returns when the data directory may be started. The lock is given back; guard takes it
// again and judges again.
func Seed(ctx context.Context, pod podenv.Pod, log *slog.Logger, step func(string)) error {
	if pod.Standalone {
		if err := standalone(pod, log); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	r := report.New(pod.Control, grant.State{Writer: "seed", Pod: pod.PodUID, Phase: grant.Locking, Server: grant.Down}, log)
	reporting, stop := context.WithCancel(ctx)
	reported := make(chan struct{})
	go func() { r.Run(reporting); close(reported) }()
	defer func() { stop(); <-reported }()

	ready, err := Prepare(ctx, Options{Pod: pod, Program: "seed", Report: r, Log: log, Step: step})
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	r.Update(func(s *grant.State) {
		s.Phase, s.Reason = grant.Waiting, "the volume is ready; the server's container comes next"
	})
	if err := ready.Lock.Close(); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	return nil
}
