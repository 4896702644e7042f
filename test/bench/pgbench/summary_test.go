package main

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/test/bench/results"
)

func TestSummary(t *testing.T) {
	even := func(n, rough int, ratio float64) (agents, plain []float64) {
		for i := range n {
			base := 500 + 40*float64(i%3) // the machine's weather, which the quotients do not see
			if i == rough {
				base = 900
			}
			agents, plain = append(agents, base*ratio), append(plain, base)
		}
		return agents, plain
	}
	for name, c := range map[string]struct {
		n     int
		rough int // a round in which the machine did something else
		ratio float64
		wrong string
	}{
		"agents_cost_a_percent":        {12, -1, 0.99, ""},
		"agents_cost_a_tenth":          {12, -1, 0.9, "0.900 of the throughput"},
		"too_few_rounds_are_no_result": {4, -1, 0.99, "4 rounds, of 10"},
		"machine_was_not_quiet":        {12, 3, 0.99, "varied by 74 % of its median"},
		"nothing_was_measured":         {0, -1, 1, "0 rounds"},
	} {
		t.Run(name, func(t *testing.T) {
			run, err := results.Begin(filepath.Join(t.TempDir(), "pgbench.jsonl"), results.Setting{})
			if err != nil {
				t.Fatal(err)
			}
			agents, plain := even(c.n, c.rough, c.ratio)
			for i := range c.n {
				for arm, tps := range map[string]float64{"agents": agents[i], "plain": plain[i]} {
					if err := run.Add(map[string]string{"round": strconv.Itoa(i + 1), "arm": arm}, map[string]float64{"tps": tps}); err != nil {
						t.Fatal(err)
					}
				}
			}
			// A round that was interrupted has one arm only and is not compared.
			if err := run.Add(map[string]string{"round": "99", "arm": "agents"}, map[string]float64{"tps": 1}); err != nil {
				t.Fatal(err)
			}
			s := summarize(run)
			if got := strings.Join(s.Wrong, "; "); c.wrong == "" && got != "" || !strings.Contains(got, c.wrong) {
				t.Errorf("wrong: got %q, want %q", got, c.wrong)
			}
			if c.n > 1 && (s.Ratio != c.ratio || s.Low != c.ratio || s.High != c.ratio) {
				t.Errorf("ratio %v, %v to %v, want %v with no doubt", s.Ratio, s.Low, s.High, c.ratio)
			}
			if err := page(run, s).Write(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInterval(t *testing.T) {
	// Mean 3, standard deviation 1.5811, t = 2.776: 2.776 · 1.5811 / √5.
	mean, half := interval([]float64{1, 2, 3, 4, 5})
	if mean != 3 || math.Abs(half-1.963) > 0.001 {
		t.Errorf("got %v ± %v, want 3 ± 1.963", mean, half)
	}
}
