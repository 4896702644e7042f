// Package build makes the programs a lab consists of, from pinned Go modules, into the user's cache. What was built
// once from the same inputs is not built again, whichever clone asks.
package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// KubernetesVersion is what the built cluster calls itself; it matches components/kubernetes/go.mod.
const KubernetesVersion = "v1.36.3"

// component is one module, and how its programs are built.
type component struct {
	name string
	// dir is the module's folder below the lab's source.
	dir      string
	packages []string
	flags    []string
	env      []string
	// inputs are the files, below dir, that decide what comes out.
	inputs []string
	// rename maps a program's name after the build to its name in the lab.
	rename map[string]string
}

var moduleFiles = []string{"go.mod", "go.sum"}

func components() []component {
	version := "-s -w -X k8s.io/component-base/version.gitVersion=" + KubernetesVersion +
		" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
	static := []string{"CGO_ENABLED=0"}
	plain := []string{"-trimpath", "-ldflags", "-s -w"}
	k8s := "k8s.io/kubernetes/cmd/"
	return []component{
		{name: "containerd and etcd", dir: "components/containerd", inputs: moduleFiles, flags: plain, env: static,
			packages: []string{
				"github.com/containerd/containerd/v2/cmd/containerd",
				"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
				"github.com/containerd/containerd/v2/cmd/ctr",
				"github.com/containernetworking/plugins/plugins/ipam/host-local",
				"github.com/containernetworking/plugins/plugins/main/bridge",
				"github.com/containernetworking/plugins/plugins/main/loopback",
				"go.etcd.io/etcd/server/v3",
			}, rename: map[string]string{"server": "etcd"}},
		{name: "runc", dir: "components/runc", inputs: moduleFiles, env: []string{"CGO_ENABLED=1"},
			flags:    append([]string{"-tags", "seccomp"}, plain...),
			packages: []string{"github.com/opencontainers/runc"}},
		{name: "kubernetes", dir: "components/kubernetes", inputs: moduleFiles, env: static,
			flags: []string{"-trimpath", "-ldflags", version},
			packages: []string{k8s + "kube-apiserver", k8s + "kube-controller-manager", k8s + "kube-proxy",
				k8s + "kube-scheduler", k8s + "kubectl", k8s + "kubelet"}},
		{name: "coredns", dir: "components/coredns", inputs: moduleFiles, flags: plain, env: static,
			packages: []string{"github.com/coredns/coredns"}},
		{name: "helm", dir: "components/helm", inputs: moduleFiles, flags: plain, env: static,
			packages: []string{"helm.sh/helm/v3/cmd/helm"}},
		{name: "pods' own programs", dir: ".", inputs: []string{"cmd/pause", "cmd/probe"}, flags: plain, env: static,
			packages: []string{"./cmd/pause", "./cmd/probe"}},
	}
}

// key is a digest of everything that decides what a component's programs are.
func (c component) key(source, toolchain string) (string, error) {
	digest := sha256.New()
	line := func(parts ...string) {
		for _, p := range parts {
			_, _ = fmt.Fprintf(digest, "%d:%s\n", len(p), p)
		}
	}
	line(toolchain, c.name)
	line(c.packages...)
	line(c.flags...)
	line(c.env...)
	for _, input := range c.inputs {
		err := filepath.WalkDir(filepath.Join(source, c.dir, input), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			relative, err := filepath.Rel(source, path)
			if err != nil {
				return err
			}
			line(relative)
			return hashFile(digest, path)
		})
		if err != nil {
			return "", fmt.Errorf("hash inputs of %s: %w", c.name, err)
		}
	}
	return hex.EncodeToString(digest.Sum(nil))[:16], nil
}

func hashFile(digest io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(digest, file)
	return err
}

// programs are the names the component's programs have in the lab.
func (c component) programs() []string {
	var names []string
	for _, p := range c.packages {
		name := programName(p)
		if other, renamed := c.rename[name]; renamed {
			name = other
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// programName is what the Go tool calls the program of a package: its last part that is not a major version.
func programName(pkg string) string {
	parts := strings.Split(pkg, "/")
	last := parts[len(parts)-1]
	if len(parts) > 1 && len(last) > 1 && last[0] == 'v' && strings.Trim(last[1:], "0123456789") == "" {
		last = parts[len(parts)-2]
	}
	return last
}

// Source finds the lab's source folder from where this program was built to (bin/ of the checkout), or from the
// current folder.
func Source() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find own program: %w", err)
	}
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find current folder: %w", err)
	}
	for _, base := range []string{filepath.Dir(filepath.Dir(self)), here} {
		for dir := base; ; dir = filepath.Dir(dir) {
			source := filepath.Join(dir, "test", "lab")
			if _, err := os.Stat(filepath.Join(source, "components", "kubernetes", "go.mod")); err == nil {
				return source, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", errors.New("the lab's source (test/lab) is neither above this program nor above the current folder: run bin/lab of a checkout")
}
