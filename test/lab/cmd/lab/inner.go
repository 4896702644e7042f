package main

import (
	"log/slog"
	"os"

	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/node"
	"github.com/pgspan/pgspan/test/lab/provisioner"
	"github.com/spf13/cobra"
)

// inner are the commands that the lab starts itself with; they are of no use to people.
func inner() []*cobra.Command {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	return []*cobra.Command{
		{Use: host.EnterCommand, Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return host.Enter(args[0]) }},
		{Use: host.InitCommand, Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return host.Init(args[0], log) }},
		{Use: node.VolumesCommand, Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return provisioner.RunNode(cmd.Context(), provisioner.NodeOptions{Node: args[0], KubeletDir: node.KubeletDir, Log: log})
			}},
		{Use: lifecycle.ServeCommand, Hidden: true, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return lifecycle.Serve(cmd.Context(), log) }},
	}
}
