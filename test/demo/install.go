package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

func (d *demo) install(ctx context.Context) error {
	// The strictest Pod Security level: the demo shows that it is enough.
	labels := map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	if err := d.s.Namespace(ctx, namespace, labels); err != nil {
		return err
	}
	args := []string{"upgrade", "--install", release, d.chart, "--namespace", namespace, "--kube-context", d.site, "-f", d.values}
	if d.tag != "" {
		args = append(args, "--set-string", "global.imageTag="+d.tag)
	}
	fmt.Println("   helm", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.helm, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+d.kubeconfig)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("helm: %w:\n%s", err, out)
	}
	return nil
}

// waitReady waits for every pod that the release's sets and Deployments ask for.
func (d *demo) waitReady(ctx context.Context) error {
	said, saidAt := -1, time.Time{}
	return cluster.Wait(ctx, "all pods are ready", func(ctx context.Context) (bool, string, error) {
		want, err := d.wanted(ctx)
		if err != nil {
			return false, "", err
		}
		pods, err := d.s.Pods(ctx, namespace, selector)
		if err != nil {
			return false, "", err
		}
		ready, waiting := 0, []string{}
		for _, p := range pods {
			switch {
			case p.DeletionTimestamp != nil:
				waiting = append(waiting, p.Name+" (going)")
			case cluster.Ready(p):
				ready++
			default:
				waiting = append(waiting, p.Name+" ("+why(p)+")")
			}
		}
		seen := fmt.Sprintf("%d of %d ready", ready, want)
		if len(waiting) > 0 {
			seen += "; waiting for " + strings.Join(waiting, ", ")
		}
		if ready != said || time.Since(saidAt) > 5*time.Second {
			fmt.Println("  ", seen)
			said, saidAt = ready, time.Now()
		}
		return ready == want && len(waiting) == 0, seen, nil
	})
}

func (d *demo) wanted(ctx context.Context) (int, error) {
	opts := metav1.ListOptions{LabelSelector: selector}
	sets, err := d.s.Client.AppsV1().StatefulSets(namespace).List(ctx, opts)
	if err != nil {
		return 0, fmt.Errorf("list StatefulSets: %w", err)
	}
	deployments, err := d.s.Client.AppsV1().Deployments(namespace).List(ctx, opts)
	if err != nil {
		return 0, fmt.Errorf("list Deployments: %w", err)
	}
	n := 0
	for _, s := range sets.Items {
		n += int(*s.Spec.Replicas)
	}
	for _, s := range deployments.Items {
		n += int(*s.Spec.Replicas)
	}
	return n, nil
}

// why says in a word what a pod waits for.
func why(p corev1.Pod) string {
	for _, cs := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
		if w := cs.State.Waiting; w != nil && w.Reason != "PodInitializing" && w.Reason != "" {
			return cs.Name + ": " + w.Reason
		}
		if !cs.Ready && cs.State.Running != nil {
			return cs.Name + " runs"
		}
	}
	return strings.ToLower(string(p.Status.Phase))
}

func (d *demo) deleteAllPods(ctx context.Context) error {
	pods, err := d.s.Pods(ctx, namespace, selector)
	if err != nil {
		return err
	}
	err = d.s.Client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("delete pods: %w", err)
	}
	fmt.Printf("   %d pods told to go\n", len(pods))
	old := map[string]bool{}
	for _, p := range pods {
		old[string(p.UID)] = true
	}
	err = cluster.Wait(ctx, "the old pods are gone", func(ctx context.Context) (bool, string, error) {
		pods, err := d.s.Pods(ctx, namespace, selector)
		left := 0
		for _, p := range pods {
			if old[string(p.UID)] {
				left++
			}
		}
		return left == 0, fmt.Sprint(left, " left"), err
	})
	if err != nil {
		return err
	}
	return d.waitReady(ctx)
}

func (d *demo) sayHowToGoOn() error {
	if err := os.MkdirAll(d.out, 0o700); err != nil {
		return err
	}
	ca, pass := filepath.Join(d.out, "ca.crt"), filepath.Join(d.out, "pgpass")
	if err := os.WriteFile(ca, d.app.CA, 0o600); err != nil {
		return err
	}
	line := fmt.Sprintf("%s:%d:%s:%s:%s\n", d.app.Host, d.app.Port, d.app.Database, d.app.User, strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(d.app.Password))
	if err := os.WriteFile(pass, []byte(line), 0o600); err != nil {
		return err
	}
	fmt.Printf("\nGo on with:\n  psql \"host=%s hostaddr=%s port=%d dbname=%s user=%s sslmode=verify-full sslrootcert=%s passfile=%s\"\n",
		d.app.Host, d.app.Address, d.app.Port, d.app.Database, d.app.User, ca, pass)
	fmt.Printf("  kubectl --kubeconfig %s --context %s -n %s get pods -L pgspan.io/role\n", d.kubeconfig, d.site, namespace)
	return nil
}
