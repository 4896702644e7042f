package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"text/tabwriter"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/spf13/cobra"
)

// progress prints one line per part, with the seconds since the command began. It is no part of a command's answer,
// which others may read.
func progress() build.Progress { return lines(os.Stderr) }

func lines(to io.Writer) build.Progress {
	began := time.Now()
	return func(format string, args ...any) {
		_, _ = fmt.Fprintf(to, "lab %4.0fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

func needRoot(*cobra.Command, []string) error {
	if os.Geteuid() != 0 {
		return errors.New("the lab makes networks, mounts and control groups: run it as root")
	}
	return nil
}

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "build Kubernetes and what belongs to it into the user's cache, where it is not there yet",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bin, err := buildAll(cmd.Context(), progress())
			if err == nil {
				fmt.Println(bin.Dir)
			}
			return err
		},
	}
}

func buildAll(ctx context.Context, say build.Progress) (build.Binaries, error) {
	if err := build.Packages(ctx, say); err != nil {
		return build.Binaries{}, err
	}
	return build.All(ctx, say)
}

func upCommand() *cobra.Command {
	var sites []string
	var nodes int
	var replace bool
	cmd := &cobra.Command{
		Use: "up", Short: "bring the lab up, or see that it is", Args: cobra.NoArgs, PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := topology.New(sites, nodes)
			if err != nil {
				return err
			}
			release, err := lifecycle.Lock(cmd.Context(), 0)
			if err != nil {
				return err
			}
			defer release()
			say := progress()
			bin, err := buildAll(cmd.Context(), say)
			if err != nil {
				return err
			}
			return lifecycle.Up(cmd.Context(), lab, bin, replace, say)
		},
	}
	cmd.Flags().StringSliceVar(&sites, "sites", []string{"a"}, "the sites' names, each a Kubernetes cluster of its own")
	cmd.Flags().BoolVar(&replace, "replace", false, "take a lab of another shape or version down first, instead of being refused")
	cmd.Flags().IntVar(&nodes, "nodes", 3, "nodes per site")
	return cmd
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "end the lab and leave nothing of it but pushed images", Args: cobra.NoArgs, PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, _ []string) error {
			release, err := lifecycle.Lock(cmd.Context(), 0)
			if err != nil {
				return err
			}
			defer release()
			return lifecycle.Down(cmd.Context(), progress())
		},
	}
}

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "tell which hosts run, and which faults are in force", Args: cobra.NoArgs, PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := lifecycle.LoadState()
			if err != nil {
				return err
			}
			rows, err := lifecycle.Status(cmd.Context(), state)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
			for _, r := range rows {
				_, _ = fmt.Fprintln(table, r.Name+"\t"+r.Address+"\t"+r.State+"\t"+r.Detail)
			}
			if err := table.Flush(); err != nil {
				return err
			}
			faults, err := fault.InForce()
			for _, f := range faults {
				fmt.Println("fault:", f)
			}
			return err
		},
	}
}

func kubeconfigCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kubeconfig", Short: "print the path of the kubeconfig, which has one context per site", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := lifecycle.LoadState(); err != nil {
				return err
			}
			fmt.Println(lifecycle.Kubeconfig())
			return nil
		},
	}
}

func execCommand() *cobra.Command {
	return &cobra.Command{
		Use: "exec HOST -- COMMAND…", Short: "run a command inside a host, to look around", Args: cobra.MinimumNArgs(2),
		PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, args []string) error {
			line, err := host.EnterCommandLine(args[0], args[1:]...)
			if err != nil {
				return err
			}
			inside := exec.CommandContext(cmd.Context(), line[0], line[1:]...)
			inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
			return inside.Run()
		},
	}
}
