// Command seed runs the benchmark of clones (agents/seed), keeps what it measures in docs/bench/seed.jsonl, and renders the page and the
// picture beside it. Seed makes a base backup and a few things besides; the reference is plain pg_basebackup onto the same volume, in
// turns with it. The last line that it prints is one JSON object.
//
//	go run ./bench/seed [-sizes 512,1024,2048,4096] [-rounds 5]
//
// It fails where seed has less than 0.95 of the speed, or where its time is not a + b·size. An interrupted run goes on where it stopped, if
// neither the commit nor the flags have changed.
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
	sizes := flag.String("sizes", "512,1024,2048,4096", "megabytes of data")
	rounds := flag.Int("rounds", 5, "how often each size is cloned in either way")
	root := flag.String("root", "..", "root of the repository")
	flag.Parse()
	if err := bench(*root, *sizes, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench-seed:", err)
		os.Exit(1)
	}
}

func bench(root, sizes string, rounds int) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	setting, err := results.Here(ctx, map[string]string{"sizes": sizes, "rounds": strconv.Itoa(rounds)})
	if err != nil {
		return err
	}
	run, err := results.Open(filepath.Join(root, "docs", "bench", "seed.jsonl"), setting)
	if err != nil {
		return err
	}
	if run.Continued {
		fmt.Printf("goes on with the run of %s, which has %d clones\n", run.Name, len(run.Samples))
	}
	if err := measure(ctx, root, run, sizes, rounds); err != nil {
		return err
	}
	s := summarize(run)
	return page(run, s).Finish(s, s.Wrong)
}

// measure runs the benchmark and keeps each clone as soon as it is told.
func measure(ctx context.Context, root string, run *results.Run, sizes string, rounds int) error {
	var done []string
	for _, s := range run.Samples {
		done = append(done, s.Labels["size"]+"/"+s.Labels["round"]+"/"+s.Labels["arm"])
	}
	return results.GoBenchmark(ctx, filepath.Join(root, "agents", "seed"), "Seed", []string{
		"-seed-sizes=" + sizes, "-seed-rounds=" + strconv.Itoa(rounds), "-seed-done=" + strings.Join(done, ","), "-seed-report=/dev/fd/3",
	}, func(line []byte) error { return keep(run, line) })
}

func keep(run *results.Run, line []byte) error {
	var c struct {
		Size, Arm          string
		Round              int
		Megabytes, Seconds float64
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return fmt.Errorf("what the benchmark tells: %w", err)
	}
	err := run.Add(map[string]string{"size": c.Size, "round": strconv.Itoa(c.Round), "arm": c.Arm},
		map[string]float64{"megabytes": results.Round(c.Megabytes), "seconds": results.Round(c.Seconds)})
	if err != nil {
		return err
	}
	fmt.Printf("%6s MB  round %d  %-5s  %7.2f s  load %.2f\n", c.Size, c.Round, c.Arm, c.Seconds, results.Load())
	return nil
}
