// Package e2e tests pgspan as its users run it: the chart installed by helm into a real Kubernetes, real PostgreSQL, a client that
// writes all the time. Cases are named by what goes wrong. `make e2e` brings up the lab, pushes the images and runs them.
//
// Environment: PGSPAN_KUBECONFIG (default: what `bin/lab kubeconfig` prints), PGSPAN_SITE (default a), PGSPAN_TAG (the images' tag),
// PGSPAN_REGISTRY (host:port under which this machine reaches the lab's registry, to look for the images of an older tag).
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgspan/pgspan/test/cluster"
)

// site is the cluster that all cases share.
var site *cluster.Site

func TestMain(m *testing.M) {
	if err := connect(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	code := m.Run()
	cases.print(os.Stdout)
	os.Exit(code)
}

func connect() error {
	kubeconfig := os.Getenv("PGSPAN_KUBECONFIG")
	if kubeconfig == "" {
		out, err := exec.Command(lab(), "kubeconfig").Output()
		if err != nil {
			return fmt.Errorf("ask the lab for its kubeconfig: %w (run `make e2e`, which starts it)", err)
		}
		kubeconfig = strings.TrimSpace(string(out))
	}
	name := os.Getenv("PGSPAN_SITE")
	if name == "" {
		name = "a"
	}
	var err error
	if site, err = cluster.Connect(kubeconfig, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := site.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("site %s does not answer: %w (run `make e2e`, which starts the lab)", name, err)
	}
	return nil
}

// lab is the lab's program, for faults.
func lab() string {
	if p := os.Getenv("PGSPAN_LAB"); p != "" {
		return p
	}
	return "../../bin/lab"
}
