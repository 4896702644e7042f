// Command demo installs one release into a site, loads Debian's package index through pgpool, reads it back, shows what runs where,
// deletes all pods at once and shows the data again, and loses the primary's node under a writer. `make demo` runs it after the lab and the images are there.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/demo/data"
)

func main() {
	var d demo
	flag.StringVar(&d.kubeconfig, "kubeconfig", "", "kubeconfig file")
	flag.StringVar(&d.site, "site", "a", "context in it")
	flag.StringVar(&d.chart, "chart", "charts/pgspan", "the chart's directory")
	flag.StringVar(&d.values, "values", "test/demo/values.yaml", "values file")
	flag.StringVar(&d.tag, "tag", "", "tag of the images")
	flag.StringVar(&d.helm, "helm", "helm", "helm program")
	flag.StringVar(&d.lab, "lab", "", "the lab's program; empty: the cluster is no lab, and no node loses its power")
	flag.StringVar(&d.out, "out", "bin/demo", "directory for the CA and the password file")
	flag.Parse()

	if err := d.start(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func (d *demo) start() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	began := time.Now()
	if err := d.run(ctx); err != nil {
		return err
	}
	fmt.Printf("\nAll of this took %s, without what was built before.\n", time.Since(began).Round(time.Second))
	return nil
}

type demo struct {
	kubeconfig, site, chart, values, tag, helm, out, lab string

	s      *cluster.Site
	app    cluster.App
	before data.Sum // what was there before all pods were deleted
}

// The release of the demo.
const (
	namespace = "demo"
	release   = "db"
	fullname  = "db"
	selector  = "app.kubernetes.io/instance=db"
	user      = "app"
)

func (d *demo) run(ctx context.Context) (err error) {
	if d.s, err = cluster.Connect(d.kubeconfig, d.site); err != nil {
		return err
	}
	for _, step := range []struct {
		say string
		do  func(context.Context) error
	}{
		{"installing the release " + release + " with helm", d.install},
		{"waiting until every member and pooler is ready", d.waitReady},
		{"loading Debian's package index through pgpool", d.load},
		{"reading and writing through pgpool", d.readAndWrite},
		{"this is what runs", d.show},
		{"deleting all pods at once", d.deleteAllPods},
		{"the same data again", d.showAgain},
		{"taking the power from the primary's node, under a writer", d.losePrimarysNode},
		{"all members again", d.show},
	} {
		began := time.Now()
		fmt.Printf("\n== %s\n", step.say)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.say, err)
		}
		fmt.Printf("   (%.1f s)\n", time.Since(began).Seconds())
	}
	return d.sayHowToGoOn()
}
