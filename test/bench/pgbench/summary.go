package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/pgspan/pgspan/test/bench/results"
)

// What must hold.
const (
	leastRatio  = 0.97
	leastRounds = 10
	// mostSpread is how far apart the arm without agents may be, as a part of its median: beyond, the machine did something else meanwhile.
	mostSpread = 0.25
)

// Summary is what a run says.
type Summary struct {
	Agents results.Spread `json:"agents"` // transactions a second
	Plain  results.Spread `json:"plain"`
	// Ratio is the geometric mean of the rounds' quotients, with ÷ without, and Low to High its 95 % interval.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"`
	// Wrong are sentences about what does not hold.
	Wrong []string `json:"wrong"`
}

// summarize judges a run's samples. Neighbours in time are compared: they had the same weather.
func summarize(run *results.Run) Summary {
	s := Summary{Wrong: []string{}}
	var agents, plain, logs []float64
	for _, sample := range run.Samples {
		round := sample.Labels["round"]
		other := run.Values("tps", map[string]string{"round": round, "arm": "plain"})
		if sample.Labels["arm"] != "agents" || len(other) == 0 {
			continue
		}
		agents, plain = append(agents, sample.Values["tps"]), append(plain, other[0])
		logs = append(logs, math.Log(sample.Values["tps"]/other[0]))
	}
	s.Agents, s.Plain, s.N = results.SpreadOf(agents), results.SpreadOf(plain), len(logs)
	if s.N < leastRounds {
		s.Wrong = append(s.Wrong, fmt.Sprintf("%d rounds, of %d that make a result", s.N, leastRounds))
	}
	if s.N > 1 {
		mean, half := interval(logs)
		s.Ratio, s.Low, s.High = results.Round(math.Exp(mean)), results.Round(math.Exp(mean-half)), results.Round(math.Exp(mean+half))
	}
	if s.Ratio < leastRatio {
		s.Wrong = append(s.Wrong, fmt.Sprintf("with agents there is %.3f of the throughput without, want %.2f or more", s.Ratio, leastRatio))
	}
	if s.Low < leastRatio && s.Ratio >= leastRatio {
		s.Wrong = append(s.Wrong, fmt.Sprintf("the interval goes down to %.3f: %.2f is not shown", s.Low, leastRatio))
	}
	if spread := (s.Plain.Max - s.Plain.Min) / s.Plain.Median; s.N > 0 && spread > mostSpread {
		s.Wrong = append(s.Wrong, fmt.Sprintf("the server without agents varied by %.0f %% of its median, %.0f at most make a result: the machine was not quiet", spread*100, mostSpread*100))
	}
	return s
}

// student is the 0.975 quantile of Student's distribution by degrees of freedom, from 1.
var student = []float64{
	12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
	2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
}

// interval is the mean of two values or more, and half the width of its 95 % interval.
func interval(values []float64) (mean, half float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return mean, student[min(len(values)-2, len(student)-1)] * math.Sqrt(squares/(n-1)/n)
}

const text = `What keeper and guard cost a busy server: pgbench (TPC-B, scale 10, 8 clients over the socket) on a server that they look after, and on a copy of it that runs
without them, with the same command line and configuration files. Two processors carry server, client and agents, and beside both arms the Kubernetes API server that
keeper renews its lease at. The arms take turns, each first as often as second; each measurement begins with a checkpoint and three seconds that do not count.

` + "`make bench-pgbench`" + ` measures it again. The ratio is the geometric mean of the rounds' quotients, with its 95 % interval; below 0.97 it fails.`

func page(run *results.Run, s Summary) results.Page {
	p := results.Page{
		Title: "Throughput with and without agents", Text: text, Run: run,
		Head: []string{"arm", "n", "tps, median", "least to greatest", "ratio", "95 % interval"},
	}
	for _, arm := range []struct {
		name        string
		spread      results.Spread
		ratio, wide string
	}{
		{"without agents", s.Plain, "1", ""},
		{"with agents", s.Agents, fmt.Sprintf("%.3f", s.Ratio), fmt.Sprintf("%.3f to %.3f", s.Low, s.High)},
	} {
		p.Rows = append(p.Rows, []string{arm.name, strconv.Itoa(arm.spread.N), fmt.Sprintf("%.0f", arm.spread.Median),
			fmt.Sprintf("%.0f to %.0f", arm.spread.Min, arm.spread.Max), arm.ratio, arm.wide})
	}
	chart := results.Chart{Title: "pgbench by round", X: "round", Y: "transactions a second"}
	for _, arm := range []string{"plain", "agents"} {
		series := results.Series{Name: map[string]string{"plain": "without agents", "agents": "with agents"}[arm]}
		for _, sample := range run.Samples {
			if n, err := strconv.Atoi(sample.Labels["round"]); err == nil && sample.Labels["arm"] == arm {
				series.Points = append(series.Points, [2]float64{float64(n), sample.Values["tps"]})
			}
		}
		chart.Series = append(chart.Series, series)
	}
	if len(run.Samples) > 0 {
		p.Chart = &chart
	}
	for _, w := range s.Wrong {
		p.Notes = append(p.Notes, "Missed: "+w+".")
	}
	return p
}
