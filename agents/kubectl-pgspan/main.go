// kubectl-pgspan is the kubectl plugin of pgspan: put it on the PATH and call it as "kubectl pgspan".
//
// Verbs:
//
//	status, switchover, promote, demote, pause, resume, fence, unfence, rollout
//	         ask the keepers of a release: role, run in one of its pods by kubectl exec; exit codes are role's
//	certs    make or renew the certificates of all sites
//
// It reads no environment variables; kubectl, which it calls, reads its own.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{
		Use:           "kubectl-pgspan",
		Short:         "Work with PostgreSQL run by pgspan",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newCertsCommand(time.Now))
	root.AddCommand(orderCommands(standard())...)
	if err := root.Execute(); err != nil {
		var exit *exitError
		if errors.As(err, &exit) {
			os.Exit(exit.code)
		}
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
