package main

import (
	"os"

	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/selftest"
	"github.com/spf13/cobra"
)

func selftestCommand() *cobra.Command {
	var down bool
	cmd := &cobra.Command{
		Use:   "selftest [WORDS…]",
		Short: "show on the lab that is up that each fault bites and heals; with words, only faults that contain one of them",
		Long: "The self-test needs a lab of two sites with two nodes each, and nothing in it that minds faults.\n" +
			"Words choose faults: lab selftest 'cut node' delay",
		PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, args []string) error {
			if down {
				return selftest.Down(cmd.Context(), lines(os.Stdout))
			}
			return withLab(cmd.Context(), func(state lifecycle.State) error {
				return selftest.Run(cmd.Context(), state, args, lines(os.Stdout))
			})
		},
	}
	cmd.Flags().BoolVar(&down, "down", false, "show instead that lab down leaves nothing, also after kill -9; no lab may be up")
	return cmd
}
