// Package node describes a host that carries pods: containerd, kubelet and kube-proxy.
package node

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/pki"
	"github.com/pgspan/pgspan/test/lab/topology"
)

const (
	socket = "/run/containerd/containerd.sock"
	shares = 1024
	// VolumesCommand is the name of this program's command that attaches volumes inside a node.
	VolumesCommand = "node-volumes"
	// KubeletDir is the kubelet's folder inside a node.
	KubeletDir = "/var/lib/kubelet"
	// ProxyHealthPort is where kube-proxy says whether this node can serve load balancers.
	ProxyHealthPort = 10256
)

func filesDir(name string) string { return filepath.Join(host.Directory(name), "files") }

// Prepare writes all files of a node.
func Prepare(h topology.Host, authority *pki.Authority, bin build.Binaries, pauseImage string) error {
	dir := filesDir(h.Name)
	for _, d := range []string{filepath.Join(dir, "cni"), filepath.Join(dir, "registries", topology.RegistryName)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("prepare node %s: %w", h.Name, err)
		}
	}
	users := map[string]pki.Subject{
		"kubelet": {User: "system:node:" + h.Name, Groups: []string{"system:nodes"},
			Names: []string{h.Name}, IPs: []net.IP{h.Address().AsSlice()}},
		"proxy": {User: "system:kube-proxy"},
	}
	for name, subject := range users {
		leaf, err := authority.Issue(subject)
		if err != nil {
			return err
		}
		if err := leaf.Save(dir, name); err != nil {
			return err
		}
		if err := pki.WriteKubeconfig(filepath.Join(dir, name+".kubeconfig"), h.Site.Name, h.Site.API(), authority.PEM, leaf); err != nil {
			return err
		}
	}
	files := map[string]string{
		"ca.crt":          string(authority.PEM),
		"kubelet.yaml":    kubeletConfig(h, dir),
		"containerd.toml": containerdConfig(dir, bin, pauseImage),
		"cni/10-lab.conflist": fmt.Sprintf(cniConfig, h.PodRange(),
			filepath.Join("/var/lib/cni", "addresses")),
		"registries/" + topology.RegistryName + "/hosts.toml": fmt.Sprintf("server = \"http://%s\"\n", topology.RegistryAddress),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("prepare node %s: %w", h.Name, err)
		}
	}
	return nil
}

// Spec is the node's host.
func Spec(h topology.Host, bin build.Binaries) host.Spec {
	dir := filesDir(h.Name)
	own := host.Directory(h.Name)
	path := "PATH=" + bin.Dir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	return host.Spec{
		Name: h.Name, Shares: shares,
		Uptime: time.Duration(h.Site.Index)*time.Hour + time.Duration(h.Number)*time.Minute,
		Binds: []host.Bind{
			{Source: filepath.Join(own, "kubelet"), Target: KubeletDir, Shared: true},
			{Source: filepath.Join(own, "containerd"), Target: "/var/lib/containerd"},
			{Source: filepath.Join(own, "log"), Target: "/var/log"},
		},
		// What a real machine forgets at a restart.
		Memory: []string{"/run/containerd", "/run/netns", "/run/nri", "/run/cni", "/var/lib/cni"},
		Units: []host.Unit{
			{Name: "containerd", Env: []string{path}, Command: []string{bin.Path("containerd"),
				"--config", filepath.Join(dir, "containerd.toml"), "--log-level", "warn"}},
			{Name: "kubelet", Env: []string{path}, WaitFor: "unix:" + socket, Command: []string{bin.Path("kubelet"),
				"--config=" + filepath.Join(dir, "kubelet.yaml"), "--kubeconfig=" + filepath.Join(dir, "kubelet.kubeconfig"),
				"--hostname-override=" + h.Name, "--node-ip=" + h.Address().String(),
				"--node-labels=topology.kubernetes.io/region=" + h.Site.Name + ",topology.kubernetes.io/zone=" + h.Zone()}},
			// This program once more: the node's side of volumes that go from node to node.
			{Name: "volumes", Command: []string{"/proc/self/exe", VolumesCommand, h.Name}},
			{Name: "kube-proxy", Env: []string{path}, WaitFor: h.Site.API() + "/readyz", WaitCA: filepath.Join(dir, "ca.crt"),
				Command: []string{bin.Path("kube-proxy"), "--kubeconfig=" + filepath.Join(dir, "proxy.kubeconfig"),
					"--proxy-mode=nftables", "--cluster-cidr=" + h.Site.PodRange().String(),
					"--hostname-override=" + h.Name, fmt.Sprintf("--healthz-bind-address=0.0.0.0:%d", ProxyHealthPort),
					// These settings belong to the machine and cannot be written from a namespace.
					"--conntrack-max-per-core=0", "--conntrack-min=0",
					"--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"}},
		},
	}
}

func kubeletConfig(h topology.Host, dir string) string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[1]s/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: %[2]s
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
clusterDNS: [%[3]s]
clusterDomain: %[4]s
containerRuntimeEndpoint: unix://%[5]s
tlsCertFile: %[1]s/kubelet.crt
tlsPrivateKeyFile: %[1]s/kubelet.key
enforceNodeAllocatable: []
evictionHard: {"nodefs.available": "1%%", "imagefs.available": "1%%"}
imageGCHighThresholdPercent: 99
imageGCLowThresholdPercent: 98
registryPullQPS: 0
serializeImagePulls: false
resolvConf: ""
`, dir, cgroup.Path(h.Name), topology.DNSService, topology.ClusterDomain, socket)
}

// containerdConfig leaves the OOM score of containers alone where runc may not raise it, and keeps node resource
// plugins, whose socket all nodes would share, off.
func containerdConfig(dir string, bin build.Binaries, pauseImage string) string {
	return fmt.Sprintf(`version = 3
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '%[3]s'
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '%[1]s/registries'
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['%[2]s']
  conf_dir = '%[1]s/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    BinaryName = '%[2]s/runc'
    SystemdCgroup = false
[plugins.'io.containerd.nri.v1.nri']
  disable = true
`, dir, bin.Dir, pauseImage)
}

const cniConfig = `{
  "cniVersion": "1.0.0", "name": "lab",
  "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "%s"}
  }]
}
`
