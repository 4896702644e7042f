// Package controlplane describes the host of a site's control plane: etcd, the API server, the controllers, the
// scheduler and the site's DNS. It carries no pods, so that the death of any node leaves the control plane alone.
package controlplane

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/dns"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/pki"
	"github.com/pgspan/pgspan/test/lab/topology"
)

// APIUnit is the API server's unit.
const APIUnit = "kube-apiserver"

// frontProxy is who the API server is towards servers that extend it.
const frontProxy = "front-proxy"

// shares puts control planes before nodes when the machine is busy: a control plane that starves looks like a fault
// that nobody asked for.
const shares = 4096

// Files are a control plane's files.
type Files struct{ dir string }

// FilesOf finds the files of a site's control plane.
func FilesOf(s topology.Site) Files {
	return Files{dir: filepath.Join(host.Directory(s.ControlPlane().Name), "files")}
}

// CA is the file with the site's authority.
func (f Files) CA() string { return f.path("ca.crt") }

// Admin is the kubeconfig of the site's administrator.
func (f Files) Admin() string { return f.path("admin.kubeconfig") }

func (f Files) path(name string) string { return filepath.Join(f.dir, name) }

// users are the clients of the API server that live beside it.
func users() map[string]pki.Subject {
	return map[string]pki.Subject{
		"admin":              {User: "lab-admin", Groups: []string{"system:masters"}},
		"controller-manager": {User: "system:kube-controller-manager"},
		"scheduler":          {User: "system:kube-scheduler"},
		"dns":                {User: "lab-dns", Groups: []string{"system:masters"}},
		frontProxy:           {User: frontProxy},
	}
}

// Prepare writes all files of a site's control plane and returns its authority, which signs the nodes' certificates.
func Prepare(s topology.Site) (*pki.Authority, error) {
	f := FilesOf(s)
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return nil, fmt.Errorf("prepare control plane of %s: %w", s.Name, err)
	}
	authority, err := pki.NewAuthority("lab-site-" + s.Name)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(f.CA(), authority.PEM, 0o644); err != nil {
		return nil, fmt.Errorf("save authority: %w", err)
	}
	server, err := authority.Issue(pki.Subject{User: "kube-apiserver",
		Names: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + topology.ClusterDomain, "localhost"},
		IPs: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(topology.KubernetesService),
			s.ControlPlane().Address().AsSlice()}})
	if err != nil {
		return nil, err
	}
	if err := server.Save(f.dir, "apiserver"); err != nil {
		return nil, err
	}
	private, public, err := pki.SigningKey()
	if err != nil {
		return nil, err
	}
	if err := (pki.Leaf{Certificate: public, Key: private}).Save(f.dir, "tokens"); err != nil {
		return nil, err
	}
	for name, subject := range users() {
		leaf, err := authority.Issue(subject)
		if err != nil {
			return nil, err
		}
		if err := leaf.Save(f.dir, name); err != nil {
			return nil, err
		}
		if err := pki.WriteKubeconfig(f.path(name+".kubeconfig"), s.Name, s.API(), authority.PEM, leaf); err != nil {
			return nil, err
		}
	}
	return authority, dns.WriteCorefile(f.path("Corefile"), s, f.path("dns.kubeconfig"))
}

// Spec is the host of a site's control plane.
func Spec(s topology.Site, bin build.Binaries) host.Spec {
	f := FilesOf(s)
	h := s.ControlPlane()
	ready := s.API() + "/readyz"
	kubeconfigs := func(name string) []string {
		file := f.path(name + ".kubeconfig")
		return []string{"--kubeconfig=" + file, "--authentication-kubeconfig=" + file, "--authorization-kubeconfig=" + file}
	}
	return host.Spec{
		Name: h.Name, Uptime: time.Duration(s.Index) * time.Hour, Shares: shares,
		Units: []host.Unit{
			{Name: "etcd", Command: []string{bin.Path("etcd"),
				"--data-dir=" + filepath.Join(host.Directory(h.Name), "etcd"),
				"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
				"--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn"}},
			{Name: APIUnit, WaitFor: "tcp:127.0.0.1:2379", Command: apiServer(s, f, bin)},
			{Name: "kube-controller-manager", WaitFor: ready, WaitCA: f.CA(), Command: append([]string{
				bin.Path("kube-controller-manager"), "--service-account-private-key-file=" + f.path("tokens.key"),
				"--root-ca-file=" + f.CA(), "--use-service-account-credentials", "--leader-elect=false",
				"--profiling=false"}, kubeconfigs("controller-manager")...)},
			{Name: "kube-scheduler", WaitFor: ready, WaitCA: f.CA(), Command: append([]string{
				bin.Path("kube-scheduler"), "--leader-elect=false", "--profiling=false"}, kubeconfigs("scheduler")...)},
			{Name: "coredns", WaitFor: ready, WaitCA: f.CA(),
				Command: []string{bin.Path("coredns"), "-conf", f.path("Corefile")}},
		},
	}
}

func apiServer(s topology.Site, f Files, bin build.Binaries) []string {
	return []string{
		bin.Path("kube-apiserver"),
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address=" + s.ControlPlane().Address().String(),
		"--secure-port=" + strconv.Itoa(topology.APIPort),
		"--service-cluster-ip-range=" + topology.ServiceRange,
		"--client-ca-file=" + f.CA(),
		"--tls-cert-file=" + f.path("apiserver.crt"), "--tls-private-key-file=" + f.path("apiserver.key"),
		"--service-account-key-file=" + f.path("tokens.crt"),
		"--service-account-signing-key-file=" + f.path("tokens.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--kubelet-client-certificate=" + f.path("admin.crt"), "--kubelet-client-key=" + f.path("admin.key"),
		"--requestheader-client-ca-file=" + f.CA(), "--requestheader-allowed-names=" + frontProxy,
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + f.path(frontProxy+".crt"), "--proxy-client-key-file=" + f.path(frontProxy+".key"),
		// Nodes' names are in no DNS.
		"--kubelet-preferred-address-types=InternalIP",
		"--allow-privileged",
		"--profiling=false",
	}
}
