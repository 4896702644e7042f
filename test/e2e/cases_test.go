package e2e

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
)

// table of cases and seconds, printed at the end.
type table struct {
	mu      sync.Mutex
	rows    []row
	remarks []string
}

type row struct {
	name    string
	seconds float64
	result  string
}

var cases table

// run runs one case with a deadline and keeps its time.
func run(t *testing.T, name string, limit time.Duration, body func(t *testing.T, ctx context.Context)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		began := time.Now()
		t.Cleanup(func() {
			result := "ok"
			switch {
			case t.Failed():
				result = "FAILED"
			case t.Skipped():
				result = "skipped"
			}
			cases.add(t.Name(), time.Since(began), result)
		})
		body(t, ctx)
	})
}

func (c *table) add(name string, took time.Duration, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows = append(c.rows, row{name, took.Seconds(), result})
}

// remark is a line below the table, for what a reader of a run must know that was decided in it.
func (c *table) remark(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remarks = append(c.remarks, fmt.Sprintf(format, args...))
}

func (c *table) print(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum float64
	fmt.Fprintln(w, "\n  seconds  result   case")
	for _, r := range c.rows {
		fmt.Fprintf(w, "%9.1f  %-7s  %s\n", r.seconds, r.result, r.name)
		sum += r.seconds
	}
	fmt.Fprintf(w, "%9.1f           sum\n", sum)
	for _, r := range c.remarks {
		fmt.Fprintln(w, r)
	}
}
