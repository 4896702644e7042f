// Command stepkill is seed with one more variable: PGSPAN_TEST_DIE_AFTER names the step after which it kills itself. It lies below
// testdata so that no ordinary build makes it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/kelseyhightower/envconfig"

	"github.com/pgspan/pgspan/agents/internal/podenv"
	"github.com/pgspan/pgspan/agents/internal/seeding"
)

type config struct {
	podenv.Pod
	DieAfter string `envconfig:"PGSPAN_TEST_DIE_AFTER"`
}

func main() {
	var c config
	if err := envconfig.Process("", &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	step := func(name string) {
		if name != c.DieAfter {
			return
		}
		// SIGKILL to process 1 of a PID namespace from inside has no effect: the test that started it does it, and this waits for that.
		fmt.Fprintln(os.Stdout, "reached", name)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if err := seeding.Seed(context.Background(), c.Pod, c.Logger(os.Stderr, slog.LevelInfo, "seed"), step); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
