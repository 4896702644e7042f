package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// The release that is measured: a primary and one replica.
const (
	namespace = "bench-agent"
	release   = "db"
	selector  = "app.kubernetes.io/instance=db,app.kubernetes.io/component=database"
	members   = 2
	patience  = 5 * time.Minute
)

func (b *bench) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.s.Namespace(ctx, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		return err
	}
	args := []string{"upgrade", "--install", release, filepath.Join(b.root, "charts", "pgspan"), "-f", filepath.Join(b.root, "test", "bench", "agent", "values.yaml")}
	if b.tag != "" {
		args = append(args, "--set-string", "global.imageTag="+b.tag)
	}
	if err := b.helmRun(ctx, args...); err != nil {
		return err
	}
	return cluster.Wait(ctx, "both members are ready", func(ctx context.Context) (bool, string, error) {
		pods, err := b.s.Pods(ctx, namespace, selector)
		if err != nil {
			return false, "", err
		}
		ready := 0
		for _, p := range pods {
			if cluster.Ready(p) {
				ready++
			}
		}
		return ready == members && len(pods) == members, fmt.Sprintf("%d of %d ready", ready, members), nil
	})
}

// uninstall leaves nothing behind, also after the bench was interrupted.
func (b *bench) uninstall() error {
	if b.keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := b.helmRun(ctx, "uninstall", release, "--wait")
	gone := b.s.Client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{})
	if gone != nil && !apierrors.IsNotFound(gone) {
		return errors.Join(err, fmt.Errorf("remove namespace %s: %w", namespace, gone))
	}
	return err
}

func (b *bench) helmRun(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, b.helm, append(args, "--namespace", namespace, "--kube-context", b.site)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+b.kubeconfig)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("helm %s: %w:\n%s", args[0], err, out)
	}
	return nil
}

// agents finds the processes of both members.
func (b *bench) agents(ctx context.Context) ([]agent, error) {
	pods, err := b.s.Pods(ctx, namespace, selector)
	if err != nil {
		return nil, err
	}
	var all []agent
	for _, p := range pods {
		for _, program := range []string{"keeper", "guard"} {
			pid, err := find(program, string(p.UID))
			if err != nil {
				return nil, err
			}
			all = append(all, agent{program, p.Labels["pgspan.io/role"], pid})
		}
	}
	return all, nil
}
