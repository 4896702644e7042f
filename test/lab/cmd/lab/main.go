// Command lab runs real Kubernetes clusters ("sites") on one plain Linux machine, and breaks them on request. It needs
// root, and takes all it needs from flags and arguments; see test/lab/README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// Some shells of root's lack the folders of the tools the lab uses.
	err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	if err == nil {
		err = root().ExecuteContext(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "lab",
		Short:         "Real Kubernetes clusters on one machine, with faults on request",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(buildCommand(), upCommand(), downCommand(), statusCommand(), kubeconfigCommand(), execCommand(), selftestCommand())
	cmd.AddCommand(faultCommands()...)
	cmd.AddCommand(inner()...)
	cmd.AddCommand(carryCommand())
	return cmd
}
