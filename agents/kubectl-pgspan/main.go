// kubectl-pgspan is the kubectl plugin of pgspan: put it on the PATH and call it as "kubectl pgspan".
//
// Verbs:
//
//	certs    make or renew the certificates of all sites
//
// It reads no environment variables.
package main

import (
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
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
