package main

import (
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/selftest"
	"github.com/spf13/cobra"
)

func selftestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "selftest [WORDS…]",
		Short: "show on the lab that is up that each fault bites and heals; with words, only faults that contain one of them",
		Long: "The self-test needs a lab of two sites with two nodes each, and nothing in it that minds faults.\n" +
			"Words choose faults: lab selftest 'cut node' delay",
		PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withLab(func(state lifecycle.State) error {
				return selftest.Run(cmd.Context(), state, args, progress())
			})
		},
	}
}
