package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// verbs are role's, which runs beside each server; `kubectl pgspan VERB --help` asks a keeper for the rest.
var verbs = []struct{ name, short string }{
	{"status", "Say who leads and how the others follow"},
	{"switchover", "Let another member lead"},
	{"promote", "Let this member lead: a switchover to it"},
	{"demote", "Let any other member lead than this one"},
	{"pause", "Suspend elections and switchovers for a while"},
	{"resume", "End a pause"},
	{"fence", "Stop a member and keep it stopped"},
	{"unfence", "Let a fenced member run again"},
	{"rollout", "Restart members one by one, so that all have the newest pods and settings"},
}

// orderCommands are the verbs as commands. Their flags are role's, and those of kubectl that choose cluster and namespace.
func orderCommands(k kubectl) []*cobra.Command {
	var all []*cobra.Command
	for _, v := range verbs {
		all = append(all, &cobra.Command{
			Use: v.name, Short: v.short, DisableFlagParsing: true,
			RunE: func(cmd *cobra.Command, args []string) error {
				a, err := split(args)
				if err != nil {
					return err
				}
				if a.help {
					a.role = append(a.role, "--help")
					fmt.Fprintln(cmd.OutOrStdout(), "--release, --namespace, --context and others of kubectl's flags choose whom to ask. What the keepers say:")
				}
				return k.order(cmd.Context(), a, v.name)
			},
		})
	}
	return all
}

// kubectl is the program that has called us, with its streams.
type kubectl struct {
	program  string
	in       io.Reader
	out, err io.Writer
}

// exitError carries the exit code of role: programs go by it.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// order runs role in a pod of the release that answers.
func (k kubectl) order(ctx context.Context, a arguments, verb string) error {
	list, err := k.output(ctx, append(slices.Clone(a.kubectl), "get", "pods", "--selector", databases, "--output", "json"))
	if err != nil {
		return err
	}
	pods, err := podsOf(list)
	if err != nil {
		return err
	}
	chosen, err := choose(pods, a.release, namespaceOf(a.kubectl))
	if err != nil {
		return err
	}
	pod, err := k.reachable(ctx, a, chosen)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, k.program, append(in(a, pod), append([]string{verb}, a.role...)...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = k.in, k.out, &said
	err = cmd.Run()
	fmt.Fprint(k.err, withoutTrailer(said.String()))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &exitError{exit.ExitCode()}
	}
	return err
}

// in is kubectl's command line up to role's verb.
func in(a arguments, pod string) []string {
	return append(slices.Clone(a.kubectl), "exec", pod, "--container", keeper, "--", "role")
}

// reachIn is how long a pod may take to answer. One on a node that has just died looks alive for a while, and kubectl waits for it.
const reachIn = 10 * time.Second

// reachable returns the first pod in which role can be run: whichever it is, it asks all keepers.
func (k kubectl) reachable(ctx context.Context, a arguments, pods []pod) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, reachIn)
	defer cancel()
	type answer struct {
		pod string
		err error
	}
	answers := make(chan answer, len(pods))
	for _, p := range pods {
		go func() {
			_, err := k.output(ctx, append(in(a, p.Metadata.Name), "--version"))
			answers <- answer{p.Metadata.Name, err}
		}()
	}
	var problems []error
	for range pods {
		r := <-answers
		if r.err == nil {
			return r.pod, nil
		}
		problems = append(problems, fmt.Errorf("%s: %w", r.pod, r.err))
	}
	return "", fmt.Errorf("no keeper could be reached within %s:\n%w", reachIn, errors.Join(problems...))
}

// withoutTrailer takes off how kubectl exec ends when the program that it ran did not end well.
func withoutTrailer(text string) string {
	if i := strings.LastIndex(text, "command terminated with exit code "); i >= 0 {
		return text[:i]
	}
	return text
}

func (k kubectl) output(ctx context.Context, args []string) ([]byte, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, k.program, args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not on the PATH: this program is its plugin", k.program)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", strings.Join(append([]string{k.program}, args...), " "), strings.TrimSpace(said.String()))
	}
	return out, nil
}

// namespaceOf is what the person said of it.
func namespaceOf(flags []string) string {
	for i := 0; i+1 < len(flags); i += 2 {
		if flags[i] == "-n" || flags[i] == "--namespace" {
			return "namespace " + flags[i+1]
		}
	}
	return "the current namespace"
}

func standard() kubectl {
	return kubectl{program: "kubectl", in: os.Stdin, out: os.Stdout, err: os.Stderr}
}
