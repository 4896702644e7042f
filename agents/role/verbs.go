package main

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgspan/pgspan/agents/internal/peers"
)

// patience is how long a switchover may wait for its target, before it is refused.
const patience = 2 * time.Minute

const switchoverLong = `Let another member lead. Nothing is lost: the target is checked, the primary is shut down cleanly once the target has all of its WAL,
and takes the lease. The old primary comes back as a replica. If the shutdown takes too long it is called off, and the primary goes on.

The order is for the present epoch and has an end: when no target is fit until then it is refused, and never done later.`

func (r *run) switchover() *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use: "switchover", Short: "Let another member lead", Long: switchoverLong, Args: cobra.NoArgs,
		Example: "  role switchover\n  role switchover --to db-replica-1 --dry-run",
		RunE:    func(*cobra.Command, []string) error { return r.carry(peers.Switchover, &o) },
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.Pod, "to", "", "pod that is to lead (default the best)")
	o.until(cmd)
	return cmd
}

func (o *order) until(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&o.patience, "for", patience, "how long it may wait for a fit target, before it is refused")
}

func (r *run) promote() *cobra.Command {
	return r.directed("promote POD", "Let this member lead: a switchover to it",
		"A switchover to POD, and nothing else: a member is never promoted beside one that leads.", func(o *order, pod string) { o.Pod = pod })
}

func (r *run) demote() *cobra.Command {
	return r.directed("demote POD", "Let any other member lead than this one: a switchover away from it",
		"A switchover away from POD, to the best other member. If POD does not lead there is nothing to do.", func(o *order, pod string) { o.From = pod })
}

// directed is a switchover to or away from the pod that is its argument.
func (r *run) directed(use, short, long string, direct func(*order, string)) *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), Long: long + "\n\n" + switchoverLong,
		RunE: func(_ *cobra.Command, args []string) error {
			direct(&o, args[0])
			return r.carry(peers.Switchover, &o)
		},
	}
	o.flags(cmd)
	o.until(cmd)
	return cmd
}

const rolloutLong = `Bring every pod to the newest revision of its StatefulSet and every server to settings that wait for a restart, one member at a time: replicas
first, each streaming again before the next, then a switchover, then the old primary. Where only settings wait, servers are restarted and pods
stay. A release of one member is restarted in place, and cannot write meanwhile.

The leader's keeper does it, and whoever leads next goes on with it. When a member does not come back, the rollout stops there and touches
nothing else. Put right what was wrong and ask again: what is left to do is found out anew.`

func (r *run) rollout() *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use: "rollout", Short: "Restart members one by one, so that all have the newest pods and settings", Long: rolloutLong, Args: cobra.NoArgs,
		Example: "  role rollout --dry-run\n  role rollout --soak 10m",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, set := os.LookupEnv("PGSPAN_TIMEOUT"); !set && !cmd.Flags().Changed("timeout") {
				r.Timeout = 30 * time.Minute
			}
			return r.carry(peers.Rollout, &o)
		},
	}
	o.flags(cmd)
	set := cmd.Flags()
	set.DurationVar(&o.patience, "for", 10*time.Minute, "how long it may stand still, for one member or settings to come, before it stops")
	set.DurationVar(&o.soak, "soak", time.Minute, "how long the first replaced pod is watched before the next one")
	set.StringVar(&o.Settings, "settings", "", "name of the settings that all are to have (default those of the leader as they are now)")
	return cmd
}

func (r *run) pause() *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use: "pause --for DURATION", Short: "Suspend elections and switchovers for a while", Args: cobra.NoArgs,
		Long: `For maintenance: no member takes over while it lasts, only the present leader comes back to lead. Leases, grants and fencing go on as
always: if the leader is lost, nobody writes until it is back, the pause is over, or "role resume" ends it.`,
		Example: "  role pause --for 1h --reason 'new disks'",
		RunE: func(*cobra.Command, []string) error {
			if o.patience <= 0 {
				return errors.New("a pause has an end: say how long, like --for 1h")
			}
			return r.carry(peers.Pause, &o)
		},
	}
	o.flags(cmd)
	cmd.Flags().DurationVar(&o.patience, "for", 0, "how long it lasts, at most a week (required)")
	return cmd
}

func (r *run) resume() *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use: "resume", Short: "End a pause", Args: cobra.NoArgs,
		Long: "End a pause. Where no member leads, each keeper that is reached lifts it for itself, so that somebody can be elected.",
		RunE: func(*cobra.Command, []string) error { return r.carry(peers.Resume, &o) },
	}
	o.flags(cmd)
	return cmd
}

func (r *run) fence() *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use: "fence POD", Short: "Stop a member and keep it stopped", Args: cobra.ExactArgs(1),
		Long: `Stop a member's server and keep it stopped, through restarts of everything, until "role unfence POD". A member that leads hands over first; if
nobody is fit to follow it, the fence is refused and it goes on. The leader keeps WAL for a fenced member's slot as for any other's.`,
		RunE: func(_ *cobra.Command, args []string) error {
			o.Pod = args[0]
			return r.carry(peers.Fence, &o)
		},
	}
	o.flags(cmd)
	cmd.Flags().DurationVar(&o.patience, "for", patience, "how long a leader may wait for a fit successor, before it is refused")
	return cmd
}

func (r *run) unfence() *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use: "unfence POD", Short: "Let a fenced member run again", Args: cobra.ExactArgs(1),
		Long: "Let a fenced member run again. Where no member leads, its own keeper lifts the fence, so that it can be elected.",
		RunE: func(_ *cobra.Command, args []string) error {
			o.Pod = args[0]
			return r.carry(peers.Unfence, &o)
		},
	}
	o.flags(cmd)
	return cmd
}
