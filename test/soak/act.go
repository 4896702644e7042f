package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// member is whom a fault meets.
type member struct{ pod, node string }

// meet finds who has the role now. Nobody may lead for a moment.
func (s *soak) meet(ctx context.Context, who string) (m member, err error) {
	err = cluster.Wait(ctx, "there is a "+who, func(ctx context.Context) (bool, string, error) {
		pods, err := s.pods(ctx)
		if err != nil {
			return false, "", err
		}
		var leaders, replicas []corev1.Pod
		for _, p := range pods {
			if p.Labels["pgspan.io/role"] == "primary" {
				leaders = append(leaders, p)
			} else {
				replicas = append(replicas, p)
			}
		}
		n := 0
		some := leaders
		if _, err := fmt.Sscanf(who, "replica %d", &n); err == nil {
			some = replicas
		}
		if len(some) <= n {
			return false, fmt.Sprintf("%d of them", len(some)), nil
		}
		m = member{some[n].Name, some[n].Spec.NodeName}
		return true, "", nil
	})
	return m, err
}

func (s *soak) pods(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := s.site.Pods(ctx, namespace, "pgspan.io/cluster="+release+",app.kubernetes.io/component=database")
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, err
}

// labFaults are the words of the lab for a node.
var labFaults = map[string][]string{
	"node killed": {"kill", "node"}, "node frozen": {"freeze", "node"}, "node cut off": {"cut", "node"}, "node cut off from its peers": {"cut", "peers"},
	"node cut off from the API": {"cut", "api"}, "node cannot send": {"cut", "from"}, "node cannot receive": {"cut", "to"},
}

// strike brings a fault about and returns what undoes it, nil where there is nothing to undo.
func (s *soak) strike(ctx context.Context, f fault) (undo func(context.Context) error, err error) {
	var m member
	if f.who != "" {
		if m, err = s.meet(ctx, f.who); err != nil {
			return nil, err
		}
	}
	if words := labFaults[f.kind]; words != nil {
		words = append(slices.Clone(words), m.node)
		if err := s.labDo(ctx, words...); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return s.healed(s.labDo(ctx, append([]string{"heal"}, words...)...)) }, nil
	}
	none := int64(0)
	switch f.kind {
	case "API down":
		if err := s.labDo(ctx, "stop", "api", s.o.site); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return s.healed(s.labDo(ctx, "start", "api", s.o.site)) }, nil
	case "slow volume":
		volume := fmt.Sprintf("%s/%s/data-%s", s.o.site, namespace, m.pod)
		if err := s.labDo(ctx, "slow", volume, "30iops"); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return s.healed(s.labDo(ctx, "heal", "slow", volume, "30iops")) }, nil
	case "pod deleted":
		return nil, s.site.Client.CoreV1().Pods(namespace).Delete(ctx, m.pod, metav1.DeleteOptions{})
	case "pod force-deleted":
		return nil, s.site.Client.CoreV1().Pods(namespace).Delete(ctx, m.pod, metav1.DeleteOptions{GracePeriodSeconds: &none})
	case "postmaster killed":
		return nil, s.inside(ctx, m, "kill -9 $(head -1 /var/lib/pgspan/pgdata/postmaster.pid)")
	case "keeper killed":
		return nil, s.signal(ctx, m, "KILL", "keeper")
	case "guard killed":
		return nil, s.signal(ctx, m, "KILL", "guard")
	case "backend killed":
		return nil, s.inside(ctx, m, `kill -9 $(psql -h /pgspan/socket -U postgres -XAtqc "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1")`)
	case "receiver frozen":
		if s.inside(ctx, m, `kill -STOP $(psql -h /pgspan/socket -U postgres -XAtqc "select pid from pg_stat_wal_receiver")`) != nil {
			return nil, nil // a leader has none
		}
		return func(ctx context.Context) error { _ = s.inside(ctx, m, thaw); return nil }, nil // its server may have ended
	case "keeper frozen", "guard frozen", "keeper and guard frozen":
		programs := strings.Fields(strings.NewReplacer(" frozen", "", " and", "").Replace(f.kind))
		for _, p := range programs {
			if err := s.signal(ctx, m, "STOP", p); err != nil {
				return nil, err
			}
		}
		return func(ctx context.Context) error {
			for _, p := range programs {
				_ = s.signal(ctx, m, "CONT", p) // it may have been ended meanwhile
			}
			return nil
		}, nil
	case "switchover":
		return nil, s.order(ctx, "switchover", "--wait=false")
	case "fence":
		if err := s.order(ctx, "fence", m.pod, "--wait=false", "--reason", "soak"); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return s.order(ctx, "unfence", m.pod) }, nil
	case "parameter changed":
		s.workMem = 4 + rand.IntN(60) // what it is decides nothing
		return nil, s.helm(ctx)
	}
	return nil, fmt.Errorf("there is no fault %q", f.kind)
}

// labDo runs the lab's program.
func (s *soak) labDo(ctx context.Context, words ...string) error {
	if out, err := exec.CommandContext(ctx, s.lab, words...).CombinedOutput(); err != nil {
		return fmt.Errorf("lab %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// healed takes a fault that is not there any more for healed: two faults may have been the same one.
func (s *soak) healed(err error) error {
	if err != nil && (strings.Contains(err.Error(), "is not in force") || strings.Contains(err.Error(), "there is nothing to")) {
		return nil
	}
	return err
}

// order asks a keeper that is ready for something; what is refused is no failure of the soak: an order may come at a bad time.
func (s *soak) order(ctx context.Context, words ...string) error {
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if !cluster.Ready(p) {
			continue
		}
		keepers := fmt.Sprintf("%s-members.%s.svc:8009", release, namespace)
		_, err = s.site.Exec(ctx, namespace, p.Name, "keeper", append([]string{"role", "--keepers", keepers, "--timeout", "20s"}, words...)...)
		if err == nil || words[0] != "unfence" {
			if err != nil {
				s.say("  role %s: %v", strings.Join(words, " "), err)
			}
			return nil
		}
	}
	return err
}

// signal sends a signal to keeper or guard of a pod, from its node: the agents' image has nothing that could.
func (s *soak) signal(ctx context.Context, m member, signal, program string) error {
	script := fmt.Sprintf(`for p in $(ls -d /proc/[0-9]* | sort -t/ -k3n); do
		[ "$(cat $p/comm 2>/dev/null)" = %q ] || continue
		tr '\0' '\n' < $p/environ | grep -qx PGSPAN_POD_NAME=%s || continue
		tr '\0' '\n' < $p/environ | grep -qx PGSPAN_NAMESPACE=%s || continue
		kill -%s ${p#/proc/} && exit 0
	done; exit 7`, program, m.pod, namespace, signal)
	out, err := exec.CommandContext(ctx, s.lab, "exec", m.node, "--", "sh", "-c", script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("kill -%s %s of %s: %w: %s", signal, program, m.pod, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// inside runs a shell line in a server's container.
func (s *soak) inside(ctx context.Context, m member, line string) error {
	_, err := s.site.Exec(ctx, namespace, m.pod, "postgres", "sh", "-c", line)
	return err
}

// thaw lets every process of a server's container go on.
const thaw = "kill -CONT -1"

// healAll undoes everything that may be in force.
func (s *soak) healAll(ctx context.Context) error {
	err := s.labDo(ctx, "heal")
	c, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pods, listing := s.pods(c)
	if listing != nil {
		return err // before the release was there, or the cluster is gone: nothing to thaw
	}
	for _, p := range pods {
		m := member{p.Name, p.Spec.NodeName}
		_, _, _ = s.signal(c, m, "CONT", "keeper"), s.signal(c, m, "CONT", "guard"), s.inside(c, m, thaw) // there may be none
	}
	return err
}
