package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/pgspan/pgspan/test/bench/results"
)

// figures are those of one mode, over all its turns.
type figures struct {
	Faults     int      `json:"faults"`
	Acked      int      `json:"acked"`
	Lost       int      `json:"lost"`
	InDoubt    int      `json:"in_doubt"`
	Overlap    float64  `json:"overlap_s"`
	LongestGap float64  `json:"longest_gap_s"`
	Operations int      `json:"operations"`
	Histories  []string `json:"histories"`
}

// summary is the last line.
type summary struct {
	Seed     uint64              `json:"seed"`
	Minutes  float64             `json:"minutes"`
	Modes    map[string]*figures `json:"modes"`
	Overlap  float64             `json:"overlap"`
	LostSync int                 `json:"lost_sync"`
	Complete bool                `json:"complete"` // every turn was gone through, and nothing was wrong
}

func (s *summary) of(mode string) *figures {
	if s.Modes[mode] == nil {
		s.Modes[mode] = &figures{}
	}
	return s.Modes[mode]
}

// finish adds the summary to docs/bench/soak.jsonl and prints it.
func (s *soak) finish(ctx context.Context, sum *summary, complete bool) error {
	sum.Minutes, sum.Complete = s.o.minutes, complete
	for mode, f := range sum.Modes {
		sum.Overlap = max(sum.Overlap, f.Overlap)
		if mode != modeAsync {
			sum.LostSync += f.Lost
		}
	}
	setting, err := results.Here(context.WithoutCancel(ctx), map[string]string{"seed": strconv.FormatUint(s.o.seed, 10), "modes": s.o.modes, "turn": s.o.turn.String()})
	if err != nil {
		return err
	}
	run, err := results.Begin(filepath.Join(s.o.root, "docs", "bench", "soak.jsonl"), setting)
	if err != nil {
		return err
	}
	for mode, f := range sum.Modes {
		err := run.Add(map[string]string{"mode": mode}, map[string]float64{"faults": float64(f.Faults), "acked": float64(f.Acked), "lost": float64(f.Lost),
			"in_doubt": float64(f.InDoubt), "overlap_s": f.Overlap, "longest_gap_s": f.LongestGap, "operations": float64(f.Operations)})
		if err != nil {
			return err
		}
	}
	if err := run.End(sum); err != nil {
		return err
	}
	b, err := json.Marshal(sum)
	if err != nil {
		return fmt.Errorf("summarize: %w", err)
	}
	fmt.Println(string(b))
	return nil
}
