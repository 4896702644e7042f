// Command failover runs the benchmark of losing the primary, in the lab: how long nobody can write, pgspan beside Patroni 4 as Debian ships it,
// with Kubernetes as its store, at its defaults and at its floor, in turns on one machine. What it measures goes to docs/bench/failover.jsonl,
// and the page and the picture beside it are rendered anew each time. The last line that it prints is one JSON object.
//
//	go run ./bench/failover -kubeconfig FILE -lab ../bin/lab [-trials 20] [-cases switchover,crash,pod,node,starved,slowdisk]
//	                        [-arms ours,patroni_tuned,patroni_default] [-mode async,sync] [-stretch 10m] [-for 15m] [-seed 1]
//
// A run that was interrupted, or that is asked for more trials, goes on where it stopped, as long as neither code nor seed have changed.
// It fails where our own arm acknowledged on two servers at once, lost what it acknowledged in synchronous mode, changed its leader without a
// cause, or had no trial at all. A goal that is missed is said, and stands on the page.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pgspan/pgspan/test/bench/results"
	"github.com/pgspan/pgspan/test/cluster"
)

func main() {
	var b bench
	var cases, arms, modes string
	flag.StringVar(&b.kubeconfig, "kubeconfig", "", "kubeconfig of the lab")
	flag.StringVar(&b.site, "site", "a", "its context")
	flag.StringVar(&b.root, "root", "..", "root of the repository")
	flag.StringVar(&b.lab, "lab", "../bin/lab", "the lab's program")
	flag.StringVar(&b.tag, "tag", "", "tag of the images")
	flag.IntVar(&b.want.trials, "trials", 20, "trials of each case and arm")
	flag.StringVar(&cases, "cases", strings.Join(slices.Concat(events, stretches), ","), "what is tried")
	flag.StringVar(&arms, "arms", strings.Join(allArms, ","), "who is tried")
	flag.StringVar(&modes, "mode", modeAsync+","+modeSync, "asynchronous trials, or ours in synchronous mode, or both")
	flag.DurationVar(&b.length, "stretch", 10*time.Minute, "how long the cases starved and slowdisk last")
	flag.DurationVar(&b.budget, "for", 24*time.Hour, "begin no trial after so long")
	flag.Uint64Var(&b.want.seed, "seed", 1, "of the order of arms and the phases of faults")
	flag.Parse()
	b.want.cases, b.want.arms = strings.Split(cases, ","), strings.Split(arms, ",")
	b.want.modes(strings.Split(modes, ","))
	err := b.start()
	if err != nil && !errors.Is(err, errWrong) { // what is wrong has been said, and the last line is the result's
		fmt.Fprintln(os.Stderr, "bench-failover:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

type bench struct {
	kubeconfig, site, root, lab, tag string
	length, budget                   time.Duration
	want                             wanted

	s        *cluster.Site
	products []product // ours, Patroni
	held     string    // the built program
}

func (b *bench) start() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, c := range b.want.cases {
		if !slices.Contains(slices.Concat(events, stretches), c) {
			return fmt.Errorf("case %q is not known", c)
		}
	}
	for _, a := range b.want.arms {
		if !slices.Contains(allArms, a) {
			return fmt.Errorf("arm %q is not known", a)
		}
	}
	setting, err := results.Here(ctx, map[string]string{"seed": strconv.FormatUint(b.want.seed, 10), "stretch": b.length.String()})
	if err != nil {
		return err
	}
	run, err := results.Resume(filepath.Join(b.root, "docs", "bench", "failover.jsonl"), setting)
	if err != nil {
		return err
	}
	b.say("seed %d; %d trials are there, %d to do", b.want.seed, len(run.Samples), len(b.want.left(run)))
	if len(b.want.left(run)) > 0 {
		if err := b.measure(ctx, run); err != nil {
			return err
		}
	}
	s := summarize(run)
	for _, w := range s.Missed {
		b.say("missed: %s", w)
	}
	for _, w := range s.Wrong {
		b.say("WRONG: %s", w)
	}
	if err := page(run, s).Finish(s.Result, nil); err != nil {
		return err
	}
	return s.err()
}

func (b *bench) measure(ctx context.Context, run *results.Run) (err error) {
	if b.s, err = cluster.Connect(b.kubeconfig, b.site); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-failover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.held = filepath.Join(dir, "held")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.held, "./bench/failover/held")
	build.Dir, build.Stderr = filepath.Join(b.root, "test"), os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build held: %w", err)
	}
	if b.lab, err = filepath.Abs(b.lab); err != nil {
		return err
	}
	b.s.Config.WarningHandler = rest.NoWarnings{} // Endpoints are deprecated, and what Patroni uses
	if b.s.Client, err = kubernetes.NewForConfig(b.s.Config); err != nil {
		return err
	}
	ours := newPgspan(b.s, b.kubeconfig, b.root, b.tag)
	b.products = []product{ours, newPatroni(b.s, b.kubeconfig, b.root, b.tag, ours.common().alike)}
	defer func() { err = errors.Join(err, b.clear(ctx)) }()
	if err := b.heal(ctx); err != nil {
		return err
	}
	for _, p := range b.products {
		if err := b.reinstall(ctx, p); err != nil {
			return err
		}
	}
	if err := b.describe(ctx, run); err != nil {
		return err
	}
	return b.trials(ctx, run)
}

// trials does what is left, until the time is over. Three set-ups that fail one after the other end it: something is wrong that no other trial
// would find right.
func (b *bench) trials(ctx context.Context, run *results.Run) error {
	began, inARow := time.Now(), 0
	for {
		left := b.want.left(run)
		if len(left) == 0 || time.Since(began) > b.budget {
			return nil
		}
		t := left[0]
		err := b.one(ctx, run, left)
		var setUp setUpError
		switch {
		case err == nil:
			inARow = 0
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &setUp):
			return fmt.Errorf("%s of %s, trial %d: %w", t.kase, t.arm, t.n, err)
		}
		inARow++
		b.say("   not counted: %v", err)
		keep := run.Add(map[string]string{"case": "setup", "of": t.kase, "arm": t.arm, "mode": t.mode, "n": strconv.Itoa(t.n), "why": err.Error()}, nil)
		if keep != nil || inARow == 3 {
			return errors.Join(err, keep)
		}
		if err := b.heal(ctx); err != nil {
			return err
		}
		if err := b.reinstall(ctx, b.product(t.arm)); err != nil {
			return err
		}
	}
}

// one does the first of the trials left, or for a stretch all of its arms at once.
func (b *bench) one(ctx context.Context, run *results.Run, left []trial) error {
	t := left[0]
	if !slices.Contains(stretches, t.kase) {
		figures, err := b.event(ctx, t)
		if err != nil {
			return err
		}
		return b.keep(run, t, figures)
	}
	var arms []string
	for _, other := range left {
		if other.kase == t.kase {
			arms = append(arms, other.arm)
		}
	}
	all, err := b.stretch(ctx, t.kase, arms)
	if err != nil {
		return err
	}
	for _, arm := range arms {
		if err := b.keep(run, trial{t.kase, arm, t.mode, t.n}, all[arm]); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) keep(run *results.Run, t trial, figures map[string]float64) error {
	b.say("%-10s %-15s %-5s %2d  gap %6.2f s  overlap %g s  lost %g  zombie acks %g  load %.1f%s", t.how(), t.arm, t.mode, t.n, figures["gap_s"], figures["overlap_s"],
		figures["lost"]+figures["held_lost"], figures["zombie_acks"], results.Load(), map[bool]string{true: "  FAILED"}[figures["failed"] > 0])
	return run.Add(t.labels(), figures)
}

// product is the one that an arm belongs to.
func (b *bench) product(arm string) product {
	if arm == ours {
		return b.products[0]
	}
	return b.products[1]
}

// reinstall installs a product anew and waits until it is whole.
func (b *bench) reinstall(ctx context.Context, p product) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	began := time.Now()
	if err := p.install(ctx); err != nil {
		return err
	}
	st, err := p.common().whole(ctx)
	if err != nil {
		return err
	}
	lead, _ := st.primary()
	b.say("%s is whole after %.0f s, %s on %s leads", p.common().namespace, time.Since(began).Seconds(), lead.name, lead.node)
	return nil
}

// clear leaves nothing behind, also after an interruption.
func (b *bench) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := b.heal(ctx)
	for _, p := range b.products {
		err = errors.Join(err, p.uninstall(ctx))
	}
	return err
}

func (b *bench) say(format string, args ...any) {
	fmt.Println(time.Now().UTC().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
