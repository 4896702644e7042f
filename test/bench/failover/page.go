package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgspan/pgspan/test/bench/results"
)

const text = `How long nobody can write when the primary goes away: the longest time between two acknowledgements, from the fault on, that a client sees which
inserts a row every 10 ms. pgspan with the chart's defaults beside Patroni as Debian ships it, Kubernetes as its store (Endpoints), three members
each, one to a node, in the same lab, in turns. *Floor* is what Patroni's validator takes at least (ttl 20, loop_wait 1, retry_timeout 3) with
primary_start_timeout 0; *default* is ttl 30, loop_wait 10, retry_timeout 10 and no primary_start_timeout, so that a crashed server may start again in place.

| case | what is done |
| --- | --- |
| switchover | asked for through the product's own API, to the best candidate |
| crash | SIGKILL to the postmaster; its container goes on |
| pod | ` + "`kubectl delete pod --force --grace-period=0`" + ` of the primary |
| node | the primary's node is cut off from everything (odd trials), or loses its power (even ones) |
| starved | 10 minutes of 32 pgbench clients against each product and a busy loop on each node: nobody may lose the lead |
| slowdisk | 10 minutes in which each volume does 20 operations a second |

Both products' clients run the same code: one connection with TLS and SCRAM to the Service's port on a node that is not the primary's, a second to connect, 1.5 s
for an answer, a new try every 10 ms. A second session is held open on the old primary, from a process on its own node, so behind a cut too: what it
is acknowledged after another server has acknowledged anything is an *overlap*. No trial begins before both products are whole (three members ready, two streaming,
all replayed); the fault falls at a random moment of the interval in which the lease is renewed. A trial in which writes did not come back within two minutes has *failed* and
counts with what it took. *Misled* are sessions that the Service for writing led to a server that only reads: the writer leaves each at once. Rows are *lost* if they were acknowledged, without a warning, and are not there in the end; asynchronously that may happen.

` + "`make bench-failover TRIALS=n`" + ` measures it again.`

var names = map[string]string{ours: "pgspan", patroniTuned: "Patroni, floor", patroniDefault: "Patroni, default"}

func page(run *results.Run, s Summary) results.Page {
	p := results.Page{
		Title: "Losing the primary", Text: text, Run: run,
		Head: []string{"case", "product", "n", "median, s", "p95, s", "longest, s", "to reach, s", "failed", "misled", "overlap, s", "lost"},
	}
	chart := results.Chart{Title: "Write gaps", X: "case: " + strings.Join(events, ", "), Y: "seconds"}
	for i, arm := range allArms {
		series := results.Series{Name: names[arm]}
		for j, kase := range events {
			where := map[string]string{"case": kase, "arm": arm, "mode": modeAsync}
			for _, gap := range run.Values("gap_s", where) {
				series.Points = append(series.Points, [2]float64{float64(j+1) + 0.2*float64(i-1), gap})
			}
		}
		chart.Series = append(chart.Series, series)
	}
	least := 0
	for _, kase := range events {
		for _, arm := range allArms {
			if row := gapRow(run, kase, kase, arm, modeAsync, nil); row != nil {
				p.Rows = append(p.Rows, row)
				if n, _ := strconv.Atoi(row[2]); least == 0 || n < least {
					least = n
				}
			}
		}
	}
	for parity, how := range []string{"killed", "cut off"} {
		for _, arm := range allArms {
			row := gapRow(run, "node, "+how, "node", arm, modeAsync, func(n int) bool { return n%2 == parity })
			if row != nil {
				p.Rows = append(p.Rows, row)
			}
		}
	}
	for _, kase := range events {
		if row := gapRow(run, kase+", synchronous", kase, ours, modeSync, nil); row != nil {
			p.Rows = append(p.Rows, row)
		}
	}
	if least < 20 {
		p.Notes = append(p.Notes, fmt.Sprintf("The smallest group has %d trials, of 20 that make a result: medians and p95 of so few say little.", least))
	}
	p.Notes = append(p.Notes, stretchNotes(run)...)
	if n := len(setUps(run)); n > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d trials could not begin, or their fault could not be brought about; they are in the file with the reason, and count for nothing.", n))
	}
	for _, m := range append(slices.Clone(s.Wrong), s.Missed...) {
		p.Notes = append(p.Notes, "Missed: "+m+".")
	}
	if rows := settingsRows(run); rows != nil {
		p.Text += "\n\nWhat was compared; of PostgreSQL's settings " + strings.Join(equal, ", ") + " are given to Patroni as pgspan has them, the others are each product's own:\n\n" +
			results.Table([]string{"", "pgspan", "Patroni"}, rows)
	}
	if slices.ContainsFunc(chart.Series, func(s results.Series) bool { return len(s.Points) > 0 }) {
		p.Chart = &chart
	}
	return p
}

// gapRow is one line of the table: the trials of a case, an arm and a mode, or those of them whose number is chosen.
func gapRow(run *results.Run, title, kase, arm, mode string, chosen func(n int) bool) []string {
	var gaps []float64
	failed, misled, overlap, lost, told := 0.0, 0.0, 0.0, 0.0, true
	for _, s := range run.Samples {
		n, _ := strconv.Atoi(s.Labels["n"])
		if s.Labels["case"] != kase || s.Labels["arm"] != arm || s.Labels["mode"] != mode || chosen != nil && !chosen(n) {
			continue
		}
		gaps = append(gaps, s.Values["gap_s"])
		failed, misled, overlap = failed+s.Values["failed"], misled+s.Values["misled"], max(overlap, s.Values["overlap_s"])
		_, ok := s.Values["lost"]
		lost, told = lost+s.Values["lost"]+s.Values["held_lost"], told && ok
	}
	if len(gaps) == 0 {
		return nil
	}
	spread := results.SpreadOf(gaps)
	goal, rows := "", fmt.Sprintf("%.0f", lost)
	if arm == ours && mode == modeAsync && chosen == nil {
		goal = fmt.Sprintf("%.1f", goals[kase])
	}
	if !told {
		rows += ", not all told"
	}
	return []string{title, names[arm], strconv.Itoa(spread.N), fmt.Sprintf("%.2f", spread.Median), fmt.Sprintf("%.2f", spread.P95), fmt.Sprintf("%.2f", spread.Max),
		goal, fmt.Sprintf("%.0f", failed), fmt.Sprintf("%.0f", misled), fmt.Sprintf("%g", overlap), rows}
}

// stretchNotes say what the bad minutes came to.
func stretchNotes(run *results.Run) []string {
	var notes []string
	for _, s := range run.Samples {
		if slices.Contains(stretches, s.Labels["case"]) {
			v := s.Values
			notes = append(notes, fmt.Sprintf("%s, %s: %.0f changes of leader in %g minutes; longest time without an acknowledgement %.2f s; %.0f acknowledged, %.0f attempts failed, %.0f rows lost; load average %.1f.",
				s.Labels["case"], names[s.Labels["arm"]], v["changes"], v["minutes"], v["gap_s"], v["acked"], v["unanswered"], v["lost"]+v["held_lost"], v["load"]))
		}
	}
	return notes
}

func setUps(run *results.Run) []results.Sample {
	var all []results.Sample
	for _, s := range run.Samples {
		if s.Labels["case"] == "setup" {
			all = append(all, s)
		}
	}
	return all
}
