// Package kubetest gives tests a real Kubernetes API server with a real etcd, on loopback, without nodes. The binaries are those that the lab
// has built; a machine without them is told to run `make lab` first. There is also a proxy that loses, delays and repeats requests and answers.
//
// Everything ends with the test binary, also when that is killed.
package kubetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Cluster is one API server with its store.
type Cluster struct {
	URL    string
	CAFile string
	dir    string
	pki    *pki
	admin  *http.Client
}

const (
	adminToken = "kubetest-admin"
	// startLimit is generous: the machine may be busy with others' tests.
	startLimit = 2 * time.Minute
)

var shared struct {
	sync.Once
	cluster *Cluster
	err     error
}

var namespaces atomic.Int64

// Start returns the cluster of this test binary, starting it when it is first asked for.
func Start(t testing.TB) *Cluster {
	t.Helper()
	shared.Do(func() { shared.cluster, shared.err = start() })
	if shared.err != nil {
		t.Fatalf("start a Kubernetes API server: %v", shared.err)
	}
	return shared.cluster
}

func start() (*Cluster, error) {
	etcd, err := binary("etcd")
	if err != nil {
		return nil, err
	}
	apiserver, err := binary("kube-apiserver")
	if err != nil {
		return nil, err
	}
	// Not t.TempDir: the cluster outlives the test that started it. The name is the binary's, so that the next run clears what this one left.
	dir := filepath.Join(os.TempDir(), "pgspan-kubetest", filepath.Base(os.Args[0])+"-"+strconv.Itoa(os.Getuid()))
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	keys, err := newPKI(dir)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	c := &Cluster{URL: fmt.Sprintf("https://127.0.0.1:%d", ports[2]), CAFile: filepath.Join(dir, "ca.crt"), dir: dir, pki: keys}
	if err := os.WriteFile(filepath.Join(dir, "tokens"), []byte(adminToken+",admin,admin,system:masters\nkubetest-keeper,keeper,keeper,keepers\n"), 0o600); err != nil {
		return nil, err
	}
	client := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	if err := c.run(etcd, "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync", "--log-level", "error"); err != nil {
		return nil, err
	}
	if err := c.run(apiserver, "--etcd-servers", client, "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(ports[2]),
		"--tls-cert-file", filepath.Join(dir, "server.crt"), "--tls-private-key-file", filepath.Join(dir, "server.key"),
		"--token-auth-file", filepath.Join(dir, "tokens"), "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", filepath.Join(dir, "server.key"),
		"--service-account-signing-key-file", filepath.Join(dir, "server.key"), "--disable-admission-plugins", "ServiceAccount",
		"--endpoint-reconciler-type", "none", "--cert-dir", dir); err != nil {
		return nil, err
	}
	c.admin = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: keys.client()}}
	return c, c.ready()
}

// binary finds a program that the lab has built.
func binary(name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(cache, "pgspan", "lab", "bin", "*", name))
	if err != nil {
		return "", err
	}
	best, at := "", time.Time{}
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(at) {
			best, at = path, info.ModTime()
		}
	}
	if best == "" {
		return "", fmt.Errorf("%s is not built on this machine: run make lab first", name)
	}
	return best, nil
}

// run starts a program that dies with this process.
func (c *Cluster) run(path string, args ...string) error {
	log, err := os.Create(filepath.Join(c.dir, filepath.Base(path)+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.Background(), path, args...) // it ends with the process
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is sent when the starting thread ends, so that thread must live as long as this process.
		lockThread()
		started <- cmd.Start()
		_ = cmd.Wait()
		select {}
	}()
	return <-started
}

func (c *Cluster) ready() error {
	deadline := time.Now().Add(startLimit)
	for {
		body, code, err := c.ask(context.Background(), "GET", "/readyz", nil)
		if err == nil && code == http.StatusOK {
			break
		}
		if err == nil {
			err = fmt.Errorf("status %d: %s", code, body)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %s, see %s: %w", startLimit, c.dir, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

func (c *Cluster) ask(ctx context.Context, method, path string, body any) ([]byte, int, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, 0, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, in)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	if method == "PATCH" {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.admin.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return out, resp.StatusCode, err
}

// Do sends a request as the cluster's administrator and returns the answer, which must be a success.
func (c *Cluster) Do(t testing.TB, method, path string, body any) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, code, err := c.ask(ctx, method, path, body)
	if err != nil || code >= 300 {
		t.Fatalf("%s %s: %d %v\n%s", method, path, code, err, b)
	}
	out := map[string]any{}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return out
}

// Namespace makes a namespace for one test.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", namespaces.Add(1))
	c.Do(t, "POST", "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": name}})
	return name
}

// Token writes a token file and returns its path. admin may do everything, keeper what its Role allows.
func (c *Cluster) Token(t testing.TB, user string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("kubetest-"+user+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (p *pki) client() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(p.ca)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}
