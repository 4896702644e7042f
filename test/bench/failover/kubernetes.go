package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// fresh makes the product's namespace anew: what an interrupted run has left is of unknown state.
func (p *place) fresh(ctx context.Context, labels map[string]string) error {
	if err := p.gone(ctx); err != nil {
		return err
	}
	return p.s.Namespace(ctx, p.namespace, labels)
}

// gone removes the namespace and waits until it is no more.
func (p *place) gone(ctx context.Context) error {
	err := p.s.Client.CoreV1().Namespaces().Delete(ctx, p.namespace, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove namespace %s: %w", p.namespace, err)
	}
	// What is in it need not end in peace; a pod without a graceful end is an error of nobody's.
	none := int64(0)
	err = p.s.Client.CoreV1().Pods(p.namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &none}, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the pods of %s: %w", p.namespace, err)
	}
	return cluster.Wait(ctx, "namespace "+p.namespace+" is gone", func(ctx context.Context) (bool, string, error) {
		_, err := p.s.Client.CoreV1().Namespaces().Get(ctx, p.namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, "", nil
		}
		return false, "still there", err
	})
}

// run runs kubectl or helm.
func (p *place) run(ctx context.Context, stdin []byte, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdin = append(os.Environ(), "KUBECONFIG="+p.kubeconfig), bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// apply gives the cluster what a text of YAML says, in the product's namespace.
func (p *place) apply(ctx context.Context, text []byte) error {
	return p.run(ctx, text, "kubectl", "apply", "--context", p.s.Name, "--namespace", p.namespace, "-f", "-")
}

// withdraw takes it away again.
func (p *place) withdraw(ctx context.Context, text []byte) error {
	return p.run(ctx, text, "kubectl", "delete", "--ignore-not-found", "--wait=false", "--grace-period=0", "--force", "--context", p.s.Name, "--namespace", p.namespace, "-f", "-")
}
