package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/inject"
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/path"
	"github.com/spf13/cobra"
)

// faultCommands bring faults into force.
func faultCommands() []*cobra.Command {
	short := map[string]string{
		"cut":       "separate a site, two sites, a node, or a node from its API server",
		"kill":      "take a node's power away",
		"freeze":    "stop a node where it stands",
		"stop":      "stop a site's API server",
		"bandwidth": "make the path between two sites narrow",
		"delay":     "make the path between two sites long, and lossy",
		"fill":      "use up a volume's space",
		"slow":      "make a volume's disk slow",
		"hang":      "let a volume's disk never answer",
	}
	var commands []*cobra.Command
	for word, text := range short {
		commands = append(commands, faultCommand(word, text))
	}
	return append(commands,
		undoCommand("start", "give a node its power back, or start a site's API server", fault.KillNode, fault.StopAPI),
		undoCommand("thaw", "let a frozen node go on", fault.FreezeNode),
		healCommand())
}

func faultCommand(word, short string) *cobra.Command {
	var oneWay bool
	var forms []string
	for line := range strings.Lines(fault.Forms) {
		if strings.HasPrefix(line, word+" ") {
			forms = append(forms, "lab "+strings.TrimSpace(line))
		}
	}
	cmd := &cobra.Command{
		Use: word, Short: short, Long: short + "\n\n" + strings.Join(forms, "\n"), PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := fault.Parse(append([]string{word}, args...), oneWay)
			if err != nil {
				return err
			}
			return withLab(cmd.Context(), func(state lifecycle.State) error { return inject.Do(cmd.Context(), state, f) })
		},
	}
	if word == "cut" {
		cmd.Flags().BoolVar(&oneWay, "one-way", false, "cut only the packets from the first site to the second")
	}
	return cmd
}

// undoCommand heals one fault by the opposite of its word, as start heals kill.
func undoCommand(word, short string, kinds ...fault.Kind) *cobra.Command {
	return &cobra.Command{
		Use: word, Short: short, Args: cobra.ExactArgs(2), PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withLab(cmd.Context(), func(state lifecycle.State) error {
				healed, err := inject.Heal(cmd.Context(), state, func(f fault.Fault) bool {
					for _, kind := range kinds {
						if f.Kind == kind && strings.HasSuffix(string(kind), " "+args[0]) && f.Target == args[1] {
							return true
						}
					}
					return false
				})
				if err == nil && len(healed) == 0 {
					return fmt.Errorf("there is nothing to %s at %s %s: lab status shows the faults in force", word, args[0], args[1])
				}
				return err
			})
		},
	}
}

func healCommand() *cobra.Command {
	var oneWay bool
	cmd := &cobra.Command{
		Use: "heal [FAULT]", Short: "undo the fault as it is written in lab status, or all of them", PreRunE: needRoot,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withLab(cmd.Context(), func(state lifecycle.State) error { return heal(cmd.Context(), state, args, oneWay) })
		},
	}
	cmd.Flags().BoolVar(&oneWay, "one-way", false, "the fault is a one-way cut")
	return cmd
}

func heal(ctx context.Context, state lifecycle.State, words []string, oneWay bool) error {
	var match func(fault.Fault) bool
	if len(words) > 0 {
		wanted, err := fault.Parse(words, oneWay)
		if err != nil {
			return err
		}
		if wanted, err = inject.Resolve(ctx, wanted); err != nil {
			return err
		}
		match = wanted.Same
	}
	healed, err := inject.Heal(ctx, state, match)
	for _, f := range healed {
		fmt.Println("healed:", f)
	}
	if err == nil && len(words) > 0 && len(healed) == 0 {
		return fmt.Errorf("%q is not in force: lab status shows what is", strings.Join(words, " "))
	}
	return err
}

// faultPatience is how long a fault waits for another command; tests make several at once.
const faultPatience = time.Minute

// withLab runs something on the lab that is up, as the only command at work.
func withLab(ctx context.Context, do func(lifecycle.State) error) error {
	release, err := lifecycle.Lock(ctx, faultPatience)
	if err != nil {
		return err
	}
	defer release()
	state, err := lifecycle.LoadState()
	if err != nil {
		return err
	}
	return do(state)
}

// carryCommand carries the packets between two sites; the lab starts it with itself.
func carryCommand() *cobra.Command {
	return &cobra.Command{
		Use: inject.CarryCommand, Hidden: true, Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			to, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			var p fault.Path
			if err := json.Unmarshal([]byte(args[2]), &p); err != nil {
				return err
			}
			if err := lifecycle.JoinLab(); err != nil {
				return err
			}
			return path.Serve(cmd.Context(), from, to, p)
		},
	}
}
