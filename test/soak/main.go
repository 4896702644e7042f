// Command soak runs a release under load while faults happen by chance, in the lab, and looks whether every promise about writes was kept: no two
// servers acknowledge at once, nothing acknowledged is lost in synchronous mode and little in asynchronous mode, no client's register goes back, and
// the release is whole after every fault.
//
//	go run ./soak -kubeconfig FILE -lab ../bin/lab -tag TAG [-minutes 60] [-seed 1] [-modes async,any,strict] [-turn 4m] [-keep]
//
// The seed decides the faults and their times; the same seed is the same schedule. Every fault is printed with its time. The last line is one JSON
// object, which is also added to docs/bench/soak.jsonl. When it ends, also by a signal, everything that it broke is healed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
)

type options struct {
	kubeconfig, site, root, lab, tag, modes string
	minutes                                 float64
	seed                                    uint64
	turn                                    time.Duration
	keep, print                             bool
}

func main() {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the lab")
	flag.StringVar(&o.site, "site", "a", "its context")
	flag.StringVar(&o.root, "root", "..", "root of the repository")
	flag.StringVar(&o.lab, "lab", "../bin/lab", "the lab's program")
	flag.StringVar(&o.tag, "tag", "", "tag of the images")
	flag.StringVar(&o.modes, "modes", "async,any,strict", "modes, in turns")
	flag.Float64Var(&o.minutes, "minutes", 60, "how long faults happen, in all")
	flag.Uint64Var(&o.seed, "seed", 1, "of the schedule")
	flag.DurationVar(&o.turn, "turn", 4*time.Minute, "how long a mode lasts before the next")
	flag.BoolVar(&o.keep, "keep", false, "leave the release there")
	flag.BoolVar(&o.print, "print", false, "only print the schedule")
	flag.Parse()
	if err := o.start(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func (o options) start() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	turns := plan(o.seed, time.Duration(o.minutes*float64(time.Minute)), o.turn, strings.Split(o.modes, ","))
	for _, t := range turns {
		if t.mode != modeAsync && t.mode != modeAny && t.mode != modeStrict {
			return fmt.Errorf("there is no mode %q", t.mode)
		}
	}
	if o.print {
		for _, t := range turns {
			fmt.Printf("%s, %s:\n", t.mode, t.length)
			for _, f := range t.faults {
				fmt.Printf("  %s\n", f)
			}
		}
		return nil
	}
	s := &soak{o: o, began: time.Now()}
	if s.site, err = cluster.Connect(o.kubeconfig, o.site); err != nil {
		return err
	}
	if s.lab, err = filepath.Abs(o.lab); err != nil {
		return err
	}
	// Whatever happens: what was broken is healed, within a time of its own.
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		err = errors.Join(err, s.healAll(clean))
		if !o.keep {
			err = errors.Join(err, s.remove(clean))
		}
	}()
	s.say("seed %d, %d turns", o.seed, len(turns))
	if err := s.install(ctx); err != nil {
		return err
	}
	sum := summary{Seed: o.seed, Modes: map[string]*figures{}}
	for i, t := range turns {
		if err = s.turn(ctx, i, t, &sum); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		err = errors.Join(errors.New("interrupted"), err)
	}
	return errors.Join(err, s.finish(ctx, &sum, err == nil))
}

func (s *soak) say(format string, args ...any) {
	fmt.Printf("soak %6.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}
