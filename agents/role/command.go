package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/spf13/cobra"

	"github.com/pgspan/pgspan/agents/internal/orders"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// endedError is an order that did not end well.
type endedError struct{ orders.Result }

func (e *endedError) Error() string { return e.Sentence }

// config is role's environment; flags replace it. The package comment says what each means.
type config struct {
	Keepers []string      `envconfig:"PGSPAN_KEEPERS"`
	TLS     string        `envconfig:"PGSPAN_TLS" default:"/pgspan/tls"`
	Timeout time.Duration `envconfig:"PGSPAN_TIMEOUT" default:"3m"`
	ID      string        `envconfig:"PGSPAN_ID"`
}

// Validate reports all problems at once.
func (c config) Validate() error {
	var problems []error
	if len(c.Keepers) == 0 {
		problems = append(problems, errors.New("the keepers are not known: set --keepers or PGSPAN_KEEPERS to <fullname>-members.<namespace>.svc:8009"))
	}
	if c.Timeout < time.Second {
		problems = append(problems, fmt.Errorf("--timeout is %s: it must be at least 1s", c.Timeout))
	}
	if len(c.ID) > 100 {
		problems = append(problems, errors.New("--id has more than 100 characters"))
	}
	return errors.Join(problems...)
}

// run is one call of the program.
type run struct {
	config
	out io.Writer
	ctx context.Context
}

func newCommand(out io.Writer) *cobra.Command {
	r := &run{out: out}
	envErr := envconfig.Process("", &r.config)
	root := &cobra.Command{
		Use: "role", Short: "Ask the keepers of a release for another primary, a pause, a member that stays stopped, or a rollout", Version: version,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			r.ctx = cmd.Context()
			if envErr != nil {
				return fmt.Errorf("read the environment: %w", envErr)
			}
			return r.Validate()
		},
	}
	root.SetOut(out)
	root.CompletionOptions.DisableDefaultCmd = true
	set := root.PersistentFlags()
	set.StringSliceVar(&r.Keepers, "keepers", r.Keepers, "hosts and port of the keepers")
	set.StringVar(&r.TLS, "tls", r.TLS, "directory with ca.crt, keeper.crt and keeper.key")
	set.DurationVar(&r.Timeout, "timeout", r.Timeout, "how long all of it may take")
	set.StringVar(&r.ID, "id", r.ID, "the order's id: the same one again is reported on, not done again (default random)")
	root.AddCommand(r.switchover(), r.promote(), r.demote(), r.pause(), r.resume(), r.fence(), r.unfence(), r.rollout(), r.status())
	return root
}

// order is what the commands that change something have in common.
type order struct {
	peers.Order
	patience     time.Duration
	soak         time.Duration
	wait, dryRun bool
}

func (o *order) flags(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringVar(&o.Reason, "reason", "", "why, for the record")
	set.BoolVar(&o.wait, "wait", true, "wait until the result is seen; --wait=false ends once the leader has taken it")
	set.BoolVar(&o.dryRun, "dry-run", false, "only say what would be done")
}

func (r *run) carry(verb peers.Verb, o *order) error {
	return r.with(func(ctx context.Context, s *orders.Site) error {
		if verb == peers.Rollout {
			s.Progress = func(sentence string) { fmt.Fprintln(r.out, sentence) }
		}
		o.ID, o.For, o.DryRun = cmp.Or(r.ID, rand.Text()), record.Duration(o.patience), o.dryRun
		o.Soak = record.Duration(o.soak)
		result := s.Carry(ctx, verb, o.Order, o.wait)
		if result.Code != orders.ExitDone {
			return &endedError{result}
		}
		_, err := fmt.Fprintln(r.out, result.Sentence)
		return err
	})
}

// with reaches the site until the time is over, or a signal comes.
func (r *run) with(f func(context.Context, *orders.Site) error) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := orders.NewSite(r.Keepers, r.TLS, log)
	if err != nil {
		return err
	}
	defer s.Close()
	if r.ctx == nil {
		r.ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(r.ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return f(ctx, s)
}

func (r *run) status() *cobra.Command {
	format := "table"
	cmd := &cobra.Command{
		Use: "status", Short: "Say who leads and how the others follow", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if format != "table" && format != "json" {
				return fmt.Errorf("--output is %q: it must be table or json", format)
			}
			return r.with(func(ctx context.Context, s *orders.Site) error {
				v, err := s.Look(ctx)
				if err != nil {
					return &endedError{orders.Result{Code: orders.ExitFailed, Sentence: err.Error()}}
				}
				report := orders.ReportOf(v)
				if format == "table" {
					return report.Print(r.out)
				}
				e := json.NewEncoder(r.out)
				e.SetIndent("", "  ")
				return e.Encode(report)
			})
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", format, "table or json")
	return cmd
}
