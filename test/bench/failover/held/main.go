// Command held keeps one session open on one server and inserts an increasing integer every 10 ms, until the session ends, or the file named
// stop is there. bench-failover runs it on the node of the primary: behind a cut it is the client that a server without a right to write might
// still acknowledge to. Every attempt is one line of JSON in the log, written when it is over.
//
//	held CONFIG.json
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"
)

type config struct {
	App   cluster.App
	Table string
	Log   string
	Stop  string
	Limit time.Duration
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "held:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: held CONFIG.json")
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("read %s: %w", args[0], err)
	}
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(context.Background(), c.Limit)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(c.Stop); err == nil {
				cancel()
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	w := &writer.Writer{
		Connect: c.App.Connect, Table: c.Table, Once: true,
		// It waits for an answer for as long as there may be one: a late acknowledgement is what it looks for.
		Deadline: time.Minute,
		Each:     func(a writer.Attempt) { fmt.Fprintln(log, line(a)) },
	}
	w.Run(ctx)
	return nil
}

func line(a writer.Attempt) string {
	text := ""
	if a.Err != nil {
		text = a.Err.Error()
	}
	b, err := json.Marshal(map[string]any{"id": a.ID, "sent": a.Sent, "acked": a.Acked, "server": a.Server, "warned": a.Warned, "error": text})
	if err != nil {
		return "{}" // a time after the year 9999
	}
	return string(b)
}
