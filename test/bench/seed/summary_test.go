package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/test/bench/results"
)

// clone is seconds of plain and of ours, for one size.
type pair struct {
	size        string
	plain, ours []float64
}

func runOf(t *testing.T, pairs []pair) *results.Run {
	t.Helper()
	run, err := results.Open(filepath.Join(t.TempDir(), "seed.jsonl"), results.Setting{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		mb, err := strconv.ParseFloat(p.size, 64)
		if err != nil {
			t.Fatal(err)
		}
		for arm, seconds := range map[string][]float64{"plain": p.plain, "seed": p.ours} {
			for i, s := range seconds {
				if err := run.Add(map[string]string{"size": p.size, "round": strconv.Itoa(i + 1), "arm": arm}, map[string]float64{"megabytes": mb, "seconds": s}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return run
}

func TestSummary(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pairs []pair
		speed float64
		wrong []string
	}{
		{"fast_and_linear", []pair{{"1000", []float64{10, 11}, []float64{10, 11}}, {"2000", []float64{19, 20}, []float64{20, 20}}, {"4000", []float64{40}, []float64{40}}}, 0.975, nil},
		{"slow_in_one_size", []pair{{"1000", []float64{10}, []float64{10}}, {"2000", []float64{20}, []float64{22}}, {"4000", []float64{40}, []float64{40}}}, 0.9091, []string{"0.909 of the speed"}},
		{"not_linear", []pair{{"1000", []float64{10}, []float64{10}}, {"2000", []float64{50}, []float64{50}}, {"4000", []float64{40}, []float64{40}}}, 1, []string{"R² is 0.3"}},
		{"weather_that_meets_both", []pair{{"1000", []float64{10, 100, 20}, []float64{10, 100, 20}}}, 1, nil},
		{"nothing_compared", []pair{{"1000", []float64{10}, nil}}, 0, []string{"nothing was compared at 1000 MB", "0.000 of the speed"}},
		{"nothing_at_all", nil, 0, []string{"0.000 of the speed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := runOf(t, tt.pairs)
			s := summarize(run)
			if s.Speed != tt.speed {
				t.Errorf("speed: got %v, want %v", s.Speed, tt.speed)
			}
			if got := strings.Join(s.Wrong, "\n"); len(s.Wrong) != len(tt.wrong) {
				t.Errorf("wrong: got %q, want %q", s.Wrong, tt.wrong)
			} else {
				for _, want := range tt.wrong {
					if !strings.Contains(got, want) {
						t.Errorf("wrong: got %q, want %q", s.Wrong, want)
					}
				}
			}
			if err := page(run, s).Write(); err != nil {
				t.Error(err)
			}
		})
	}
}
