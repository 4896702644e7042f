// Command agent measures what keeper and guard cost when nothing happens: resident memory and processor time of the agents of a release that
// it installs into the lab, over ten minutes, with the probes of kubelet and a scrape of keeper's metrics each 15 s. Beside them, on the same
// machine at the same time, runs a minimal Go server with client_golang (./floor), probed and scraped as often.
//
//	go run ./bench/agent -kubeconfig FILE [-site a] [-tag TAG] [-minutes 10] [-keep]
//
// What is measured goes to docs/bench/agent.jsonl, a page and a picture beside it. The last line that it prints is one JSON object. It fails
// where a goal is missed. The cluster's nodes must be on this machine, as the lab's are: their processes are looked up in /proc.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/test/bench/results"
	"github.com/pgspan/pgspan/test/cluster"
)

func main() {
	var b bench
	flag.StringVar(&b.kubeconfig, "kubeconfig", "", "kubeconfig file")
	flag.StringVar(&b.site, "site", "a", "context in it")
	flag.StringVar(&b.root, "root", "..", "root of the repository")
	flag.StringVar(&b.tag, "tag", "", "tag of the images")
	flag.StringVar(&b.helm, "helm", "helm", "helm program")
	flag.IntVar(&b.minutes, "minutes", 10, "how long to measure")
	flag.BoolVar(&b.keep, "keep", false, "leave the release installed")
	flag.Parse()
	if err := b.start(); err != nil {
		fmt.Fprintln(os.Stderr, "bench-agent:", err)
		os.Exit(1)
	}
}

func (b *bench) start() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return b.run(ctx)
}

type bench struct {
	kubeconfig, site, root, tag, helm string
	minutes                           int
	keep                              bool

	s *cluster.Site
}

const (
	// settle is how long a new release is left alone before it is measured: clones, first checkpoints and events are over then.
	settle = 30 * time.Second
	// every is the time between two samples; processor time comes in units of 10 ms.
	every = 30 * time.Second
)

func (b *bench) run(ctx context.Context) (err error) {
	setting, err := results.Here(ctx, map[string]string{"minutes": strconv.Itoa(b.minutes)})
	if err != nil {
		return err
	}
	if b.s, err = cluster.Connect(b.kubeconfig, b.site); err != nil {
		return err
	}
	if err := b.install(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.uninstall()) }()
	agents, err := b.agents(ctx)
	if err != nil {
		return err
	}
	floor, err := startFloor(ctx, filepath.Join(b.root, "test"))
	if err != nil {
		return err
	}
	defer floor.stop()
	agents = append(agents, agent{name: "floor", pid: floor.pid})

	probing, cancel := context.WithCancel(ctx)
	defer cancel()
	problems := make(chan error, 1)
	go func() { problems <- b.bother(probing, floor) }()

	run, err := results.Begin(filepath.Join(b.root, "docs", "bench", "agent.jsonl"), setting)
	if err != nil {
		return err
	}
	fmt.Printf("%d processes are left alone for %v, then measured for %d minutes\n", len(agents), settle, b.minutes)
	if err := measure(ctx, run, agents, time.Duration(b.minutes)*time.Minute, problems); err != nil {
		return err
	}
	s := summarize(run)
	return page(run, s).Finish(s, s.Wrong)
}

// measure takes a sample of each process again and again. A process that ends meanwhile ends the measurement: what came after would be another's.
func measure(ctx context.Context, run *results.Run, agents []agent, length time.Duration, problems <-chan error) error {
	wait := func(d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-problems:
			return err
		case <-time.After(d):
			return nil
		}
	}
	if err := wait(settle); err != nil {
		return err
	}
	before := make([]usage, len(agents))
	began := time.Now()
	for n := 0; ; n++ {
		for i, a := range agents {
			now, err := read(a.pid)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", a.name, a.pod, err)
			}
			old := before[i]
			before[i] = now
			if n == 0 {
				continue
			}
			err = run.Add(map[string]string{"agent": a.name, "pod": a.pod, "n": strconv.Itoa(n)}, map[string]float64{
				"minutes": results.Round(now.at.Sub(began).Minutes()),
				"rssMiB":  results.Round(now.rss), "anonMiB": results.Round(now.anon), "fileMiB": results.Round(now.file), "peakMiB": results.Round(now.peak),
				"cpuPercent": results.Round(100 * (now.cpu - old.cpu).Seconds() / now.at.Sub(old.at).Seconds()),
			})
			if err != nil {
				return err
			}
			fmt.Printf("%5.1f min  %-7s %-18s %6.1f MiB (%.1f of its own)  %5.2f %% of a core\n", now.at.Sub(began).Minutes(), a.name, a.pod, now.rss, now.anon,
				100*(now.cpu-old.cpu).Seconds()/now.at.Sub(old.at).Seconds())
		}
		if time.Since(began) >= length {
			return nil
		}
		if err := wait(min(every, max(length-time.Since(began), time.Second))); err != nil {
			return err
		}
	}
}
