package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/pgspan/pgspan/test/bench/results"
)

// What must hold.
const (
	leastSpeed = 0.95
	leastR2    = 0.98
)

// Summary is what a run says.
type Summary struct {
	Sizes []Size `json:"sizes"`
	// Speed is the least of the sizes' median speeds, as a part of plain pg_basebackup's.
	Speed float64 `json:"speed"`
	// Time is that of seed over size, by the least disturbed clone of each size; nil with fewer than three sizes.
	Time *results.Line `json:"time,omitempty"`
	// Wrong are sentences about what does not hold.
	Wrong []string `json:"wrong"`
}

// Size is the clones of one size.
type Size struct {
	Megabytes float64        `json:"megabytes"`
	Ours      results.Spread `json:"ours"`  // seconds
	Plain     results.Spread `json:"plain"` // seconds
	// Ratio is plain's time by ours: our speed as a part of plain's. Neighbours in time are compared: they had the same weather.
	Ratio results.Spread `json:"ratio"`
}

// summarize judges a run's samples.
func summarize(run *results.Run) Summary {
	s := Summary{Wrong: []string{}}
	var x, y []float64
	for _, size := range sizes(run) {
		plain, ours := clones(run, size, "plain"), clones(run, size, "seed")
		var quotients, plains, ourss []float64
		for round, p := range plain {
			if o, ok := ours[round]; ok {
				quotients, plains, ourss = append(quotients, p/o), append(plains, p), append(ourss, o)
			}
		}
		if len(quotients) == 0 {
			s.Wrong = append(s.Wrong, fmt.Sprintf("nothing was compared at %s MB", size))
			continue
		}
		one := Size{
			Megabytes: slices.Max(run.Values("megabytes", map[string]string{"size": size})),
			Ours:      results.SpreadOf(ourss), Plain: results.SpreadOf(plains), Ratio: results.SpreadOf(quotients),
		}
		if len(s.Sizes) == 0 || one.Ratio.Median < s.Speed {
			s.Speed = one.Ratio.Median
		}
		s.Sizes = append(s.Sizes, one)
		x, y = append(x, one.Megabytes), append(y, one.Ours.Min)
	}
	if s.Speed < leastSpeed {
		s.Wrong = append(s.Wrong, fmt.Sprintf("seed has %.3f of the speed of pg_basebackup, want %.2f or more", s.Speed, leastSpeed))
	}
	if line, ok := results.Fit(x, y); ok {
		s.Time = &results.Line{A: results.Round(line.A), B: results.Round(line.B), R2: results.Round(line.R2)}
		if line.R2 < leastR2 {
			s.Wrong = append(s.Wrong, fmt.Sprintf("time is not linear in size: R² is %.4f, want %.2f or more", line.R2, leastR2))
		}
	}
	return s
}

// sizes are those of the run, ascending.
func sizes(run *results.Run) []string {
	var found []string
	for _, s := range run.Samples {
		if size := s.Labels["size"]; !slices.Contains(found, size) {
			found = append(found, size)
		}
	}
	slices.SortFunc(found, func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
	return found
}

// clones are the seconds of one arm by round.
func clones(run *results.Run, size, arm string) map[string]float64 {
	out := map[string]float64{}
	for _, s := range run.Samples {
		if s.Labels["size"] == size && s.Labels["arm"] == arm {
			out[s.Labels["round"]] = s.Values["seconds"]
		}
	}
	return out
}

const text = `How fast seed clones a primary, against plain ` + "`pg_basebackup`" + ` with the same arguments onto the same volume: TLS with client
certificates, from the start of a container to its end, in turns, each first as often as second. seed does more in that time: it derives keys
and configuration, takes the volume's lock, waits for its grant, syncs, and renames the finished directory.

` + "`make bench-seed`" + ` measures it again. The ratio is the median of the quotients of neighbours in time, as a part of pg_basebackup's speed; below
0.95 it fails.`

func page(run *results.Run, s Summary) results.Page {
	p := results.Page{
		Title: "Speed of a clone", Text: text, Run: run,
		Head: []string{"MB", "n", "pg_basebackup, s", "seed, s", "speed, median", "least to greatest"},
	}
	plain, ours := results.Series{Name: "pg_basebackup"}, results.Series{Name: "seed"}
	varied := 0.0
	for _, size := range s.Sizes {
		p.Rows = append(p.Rows, []string{
			fmt.Sprintf("%.0f", size.Megabytes), strconv.Itoa(size.Ratio.N), fmt.Sprintf("%.2f", size.Plain.Median), fmt.Sprintf("%.2f", size.Ours.Median),
			fmt.Sprintf("%.3f", size.Ratio.Median), fmt.Sprintf("%.3f to %.3f", size.Ratio.Min, size.Ratio.Max),
		})
		varied = max(varied, (size.Plain.Max-size.Plain.Min)/size.Plain.Median)
	}
	for _, sample := range run.Samples {
		at := [2]float64{sample.Values["megabytes"], sample.Values["seconds"]}
		if sample.Labels["arm"] == "plain" {
			plain.Points = append(plain.Points, at)
		} else {
			ours.Points = append(ours.Points, at)
		}
	}
	p.Chart = &results.Chart{Title: "Time of a clone", X: "MB", Y: "seconds", Series: []results.Series{plain, ours}}
	if s.Time != nil {
		last := s.Sizes[len(s.Sizes)-1].Megabytes
		p.Chart.Series = append(p.Chart.Series, results.Series{Name: "fit of seed's least", Limit: true, Points: [][2]float64{{0, max(s.Time.A, 0)}, {last, s.Time.A + s.Time.B*last}}})
		p.Notes = append(p.Notes, fmt.Sprintf("Seconds = %.2f + %.5f · MB by the least of each size, R² = %.4f.", s.Time.A, s.Time.B, s.Time.R2))
	}
	if varied > 0.25 {
		p.Notes = append(p.Notes, fmt.Sprintf("pg_basebackup itself varied by %.0f %% of its median: seconds are not to be compared with those of another run, only the quotients are.", varied*100))
	}
	return p
}
