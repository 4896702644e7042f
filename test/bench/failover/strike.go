package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// strike brings a trial's event about.
func (b *bench) strike(ctx context.Context, t trial, p product, lead member) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	switch t.how() {
	case "switchover":
		return p.handOver(ctx, lead.name)
	case "crash":
		return p.common().killPostmaster(ctx, lead.name)
	case "pod":
		return p.common().deletePod(ctx, lead.name)
	case "cut":
		return b.fault(ctx, "cut", "node", lead.node)
	case "kill":
		return b.fault(ctx, "kill", "node", lead.node)
	}
	return fmt.Errorf("case %s is not known", t.kase)
}

// fault brings a fault of the lab about; heal undoes all of them, also when the bench was told to end.
func (b *bench) fault(ctx context.Context, words ...string) error {
	out, err := exec.CommandContext(ctx, b.lab, words...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("lab %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (b *bench) heal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
	defer cancel()
	return b.fault(ctx, "heal")
}
