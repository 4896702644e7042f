package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/pgspan/pgspan/test/bench/results"
)

// The goals, for each agent of each member.
const (
	mostMiB     = 20.0
	mostPercent = 0.5
)

// Summary is what a run says.
type Summary struct {
	Agents []Cost `json:"agents"`
	// Wrong are sentences about goals that are missed.
	Wrong []string `json:"wrong"`
}

// Cost is what one process costs at rest.
type Cost struct {
	Agent string         `json:"agent"`
	Pod   string         `json:"pod,omitempty"`
	RSS   results.Spread `json:"rssMiB"`
	// Own is the part of it that no other process shares: heap and stacks.
	Own results.Spread `json:"anonMiB"`
	CPU results.Spread `json:"cpuPercent"`
	// MeanCPU is that of the whole time, which no unit of the kernel's rounds.
	MeanCPU float64 `json:"meanCPUPercent"`
	// Slope of the resident memory, MiB an hour; of a few minutes it says little.
	Slope float64 `json:"slopeMiBPerHour"`
	// OfFloor is the resident memory as a multiple of the floor's.
	OfFloor float64 `json:"ofFloor"`
}

// summarize judges a run's samples.
func summarize(run *results.Run) Summary {
	s := Summary{Wrong: []string{}}
	floor := results.SpreadOf(run.Values("rssMiB", map[string]string{"agent": "floor"})).Median
	for _, who := range processes(run) {
		c := Cost{
			Agent: who["agent"], Pod: who["pod"],
			RSS: results.SpreadOf(run.Values("rssMiB", who)), Own: results.SpreadOf(run.Values("anonMiB", who)), CPU: results.SpreadOf(run.Values("cpuPercent", who)),
			MeanCPU: results.Round(mean(run.Values("cpuPercent", who))),
		}
		if line, ok := results.Fit(run.Values("minutes", who), run.Values("rssMiB", who)); ok {
			c.Slope = results.Round(line.B * 60)
		}
		if floor > 0 {
			c.OfFloor = results.Round(c.RSS.Median / floor)
		}
		s.Agents = append(s.Agents, c)
		if c.Agent == "floor" {
			continue
		}
		if c.RSS.Max > mostMiB {
			s.Wrong = append(s.Wrong, fmt.Sprintf("%s of the %s has %.1f MiB resident, want %.0f or less", c.Agent, c.Pod, c.RSS.Max, mostMiB))
		}
		if c.MeanCPU > mostPercent {
			s.Wrong = append(s.Wrong, fmt.Sprintf("%s of the %s takes %.2f %% of a core, want %.1f or less", c.Agent, c.Pod, c.MeanCPU, mostPercent))
		}
	}
	for _, name := range []string{"keeper", "guard"} {
		if !slices.ContainsFunc(s.Agents, func(c Cost) bool { return c.Agent == name && c.RSS.N > 0 }) {
			s.Wrong = append(s.Wrong, "no "+name+" was measured")
		}
	}
	return s
}

// processes are those that were measured, in the order of their first samples.
func processes(run *results.Run) []map[string]string {
	var all []map[string]string
	for _, s := range run.Samples {
		who := map[string]string{"agent": s.Labels["agent"], "pod": s.Labels["pod"]}
		if !slices.ContainsFunc(all, func(o map[string]string) bool { return o["agent"] == who["agent"] && o["pod"] == who["pod"] }) {
			all = append(all, who)
		}
	}
	return all
}

// mean is that of stretches of equal length.
func mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

const text = `What the agents of a database pod cost when nothing happens: a release of a primary and one replica in the lab, kubelet's probes, a scrape of
keeper's metrics every 15 s. Beside them, on the same machine at the same time, the *floor*: a Go server with client_golang and nothing else, probed and
scraped as often. Resident memory holds the pages of the program's file that were touched, which all pods of a node share; *own* is what each has for itself.

` + "`make bench-agent`" + ` measures it again. The goals are 20 MiB and 0.5 % of a core for each agent.`

func page(run *results.Run, s Summary) results.Page {
	p := results.Page{
		Title: "Agents at rest", Text: text, Run: run,
		Head: []string{"process", "n", "resident, MiB", "least to greatest", "own, MiB", "of the floor's", "% of a core", "least to greatest"},
	}
	chart := results.Chart{Title: "Resident memory at rest", X: "minutes", Y: "MiB"}
	for _, c := range s.Agents {
		name := c.Agent
		if c.Pod != "" {
			name += ", " + c.Pod
		}
		p.Rows = append(p.Rows, []string{
			name, strconv.Itoa(c.RSS.N), fmt.Sprintf("%.1f", c.RSS.Median), fmt.Sprintf("%.1f to %.1f", c.RSS.Min, c.RSS.Max), fmt.Sprintf("%.1f", c.Own.Median),
			fmt.Sprintf("%.2f", c.OfFloor), fmt.Sprintf("%.2f", c.MeanCPU), fmt.Sprintf("%.2f to %.2f", c.CPU.Min, c.CPU.Max),
		})
		who := map[string]string{"agent": c.Agent, "pod": c.Pod}
		x, y := run.Values("minutes", who), run.Values("rssMiB", who)
		series := results.Series{Name: name, Line: true}
		for i := range x {
			series.Points = append(series.Points, [2]float64{x[i], y[i]})
		}
		chart.Series = append(chart.Series, series)
	}
	if all := run.Values("minutes", nil); len(all) > 0 {
		chart.Series = append(chart.Series, results.Series{Name: "goal", Limit: true, Points: [][2]float64{{0, mostMiB}, {slices.Max(all), mostMiB}}})
		p.Chart = &chart
	}
	for _, w := range s.Wrong {
		p.Notes = append(p.Notes, "Missed: "+w+".")
	}
	return p
}
