package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"
)

// settled is how long the writer writes before and after, so that the figures are of a running application.
const settled = 3 * time.Second

// losePrimarysNode takes the power from the node that the primary runs on, while a client writes a hundred rows a second and the server
// acknowledges none before a replica has it. It shows what the client saw.
func (d *demo) losePrimarysNode(ctx context.Context) error {
	if d.lab == "" {
		fmt.Println("   left out: this is no lab (-lab names the program that can take a node's power)")
		return nil
	}
	primary, node, err := d.primary(ctx)
	if err != nil {
		return err
	}
	address, err := d.s.Address(ctx, namespace, fullname+"-rw")
	if err != nil {
		return err
	}
	app, err := d.s.App(ctx, namespace, fullname+"-app-"+user, fullname+"-rw", address)
	if err != nil {
		return err
	}
	w := &writer.Writer{Connect: app.Connect, Table: "written"}
	if err := w.Prepare(ctx); err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); w.Run(run) }()
	halt := func() { stop(); <-done }
	defer halt()
	if err := d.pause(ctx); err != nil {
		return err
	}
	fmt.Printf("   %s on %s is the primary; %s loses its power now\n", primary, node, node)
	begin := time.Now()
	if err := d.power(ctx, "kill", node); err != nil {
		return err
	}
	defer func() { _ = d.power(context.WithoutCancel(ctx), "start", node) }() // has had its chance below, with its error
	err = cluster.Wait(ctx, "another member leads and takes writes", func(ctx context.Context) (bool, string, error) {
		log := w.Log()
		last := log[len(log)-1]
		now, _, err := d.primary(ctx)
		return err == nil && now != primary && !last.Acked.IsZero(), now, err
	})
	if err == nil {
		err = d.pause(ctx)
	}
	halt()
	if err != nil {
		return err
	}
	conn, err := app.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := writer.Rows(ctx, conn, w.Table)
	if err != nil {
		return err
	}
	o := writer.Judge(w.Log(), rows, begin, time.Time{})
	now, on, err := d.primary(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("   %s on %s took over: nothing was acknowledged for %.1f s; of %d acknowledged rows %d are lost; two servers acknowledged at once for %s\n",
		now, on, o.Gap.Seconds(), o.Acked, len(o.Lost), o.Overlap)
	if len(o.Lost) > 0 || o.Overlap > 0 || len(o.Phantom) > 0 {
		return errors.New("that must not be")
	}
	fmt.Printf("   %s gets its power back\n", node)
	if err := d.power(ctx, "start", node); err != nil {
		return err
	}
	return d.waitReady(ctx)
}

func (d *demo) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settled):
		return nil
	}
}

// power takes a node's power, or gives it back.
func (d *demo) power(ctx context.Context, word, node string) error {
	if out, err := exec.CommandContext(ctx, d.lab, word, "node", node).CombinedOutput(); err != nil {
		return fmt.Errorf("lab %s node %s: %w: %s", word, node, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// primary is the pod that is labelled so, and its node.
func (d *demo) primary(ctx context.Context) (pod, node string, err error) {
	pods, err := d.s.Pods(ctx, namespace, selector+",pgspan.io/role=primary")
	if err != nil {
		return "", "", err
	}
	if len(pods) != 1 {
		return "", "", fmt.Errorf("%d pods are labelled as the primary", len(pods))
	}
	return pods[0].Name, pods[0].Spec.NodeName, nil
}
