package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// signal sends a signal to a program of a pod, from the node: the agents' image has nothing that could, and a frozen program would not
// hear it otherwise. program is the process's name (keeper, guard, postgres); of several the oldest one gets it.
func (r *release) signal(t *testing.T, ctx context.Context, pod, program, signal string) {
	t.Helper()
	script := fmt.Sprintf(`for p in $(ls -d /proc/[0-9]* | sort -t/ -k3n); do
		[ "$(cat $p/comm 2>/dev/null)" = %q ] || continue
		tr '\0' '\n' < $p/environ | grep -qx PGSPAN_POD_NAME=%s || continue
		tr '\0' '\n' < $p/environ | grep -qx PGSPAN_NAMESPACE=%s || continue
		kill -%s ${p#/proc/} && exit 0
	done; exit 7`, program, pod, r.namespace, signal)
	node := r.node(t, ctx, pod)
	if out, err := exec.CommandContext(ctx, lab(), "exec", node, "--", "sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("kill -%s %s of %s on %s: %v\n%s", signal, program, pod, node, err, strings.TrimSpace(string(out)))
	}
}
