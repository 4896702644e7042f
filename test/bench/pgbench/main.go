// Command pgbench runs the benchmark of what the agents cost a busy server (agents/keeper), keeps what it measures in docs/bench/pgbench.jsonl,
// and renders the page and the picture beside it. The last line that it prints is one JSON object.
//
//	go run ./bench/pgbench [-rounds 12] [-seconds 15]
//
// It fails where the server with agents has less than 0.97 of the throughput of the one without. An interrupted run goes on where it stopped,
// if neither the code nor the flags have changed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pgspan/pgspan/test/bench/results"
)

func main() {
	rounds := flag.Int("rounds", 12, "how often either arm is measured")
	seconds := flag.Int("seconds", 15, "how long each measurement is")
	root := flag.String("root", "..", "root of the repository")
	flag.Parse()
	if err := bench(*root, *rounds, *seconds); err != nil {
		fmt.Fprintln(os.Stderr, "bench-pgbench:", err)
		os.Exit(1)
	}
}

func bench(root string, rounds, seconds int) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	setting, err := results.Here(ctx, map[string]string{"rounds": strconv.Itoa(rounds), "seconds": strconv.Itoa(seconds)})
	if err != nil {
		return err
	}
	run, err := results.Open(filepath.Join(root, "docs", "bench", "pgbench.jsonl"), setting)
	if err != nil {
		return err
	}
	if run.Continued {
		fmt.Printf("goes on with the run of %s, which has %d measurements\n", run.Name, len(run.Samples))
	}
	if err := measure(ctx, root, run, rounds, seconds); err != nil {
		return err
	}
	s := summarize(run)
	return page(run, s).Finish(s, s.Wrong)
}

// measure runs the benchmark and keeps each measurement as soon as it is told.
func measure(ctx context.Context, root string, run *results.Run, rounds, seconds int) error {
	var done []string
	for _, s := range run.Samples {
		done = append(done, s.Labels["round"]+"/"+s.Labels["arm"])
	}
	return results.GoBenchmark(ctx, filepath.Join(root, "agents", "keeper"), "Agents", []string{
		"-pgbench-rounds=" + strconv.Itoa(rounds), "-pgbench-seconds=" + strconv.Itoa(seconds), "-pgbench-done=" + strings.Join(done, ","), "-pgbench-report=/dev/fd/3",
	}, func(line []byte) error { return keep(run, line) })
}

func keep(run *results.Run, line []byte) error {
	var c struct {
		Round int
		Arm   string
		TPS   float64
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return fmt.Errorf("what the benchmark tells: %w", err)
	}
	if err := run.Add(map[string]string{"round": strconv.Itoa(c.Round), "arm": c.Arm}, map[string]float64{"tps": results.Round(c.TPS)}); err != nil {
		return err
	}
	fmt.Printf("round %2d  %-6s  %8.1f tps  load %.2f\n", c.Round, c.Arm, c.TPS, results.Load())
	return nil
}
