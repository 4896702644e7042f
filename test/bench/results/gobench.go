package results

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// goLimit bounds a whole run of a Go benchmark.
const goLimit = "4h"

// GoBenchmark builds the tests of the package in home, runs its benchmark with these flags, and hands on each line that it writes to its file
// descriptor 3 as soon as it is told. An interruption ends the benchmark in order.
func GoBenchmark(ctx context.Context, home, benchmark string, flags []string, each func(line []byte) error) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, filepath.Base(home)+".test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, ".")
	build.Dir, build.Stderr = home, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the benchmark: %w", err)
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer told.Close()
	cmd := exec.CommandContext(ctx, binary, append([]string{"-test.run=^$", "-test.bench=" + benchmark, "-test.benchtime=1x", "-test.timeout=" + goLimit}, flags...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = home, os.Stdout, os.Stderr, []*os.File{tell}
	// Servers that it has started die with it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err = cmd.Start()
	tell.Close()
	if err != nil {
		return fmt.Errorf("start the benchmark: %w", err)
	}
	kept := read(bufio.NewScanner(told), each)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("benchmark: %w (what was measured is kept; the same command goes on)", err)
	}
	return kept
}

func read(lines *bufio.Scanner, each func([]byte) error) error {
	for lines.Scan() {
		if err := each(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}
