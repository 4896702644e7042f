package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/kubetest"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// patience bounds every wait for something that should take seconds. Test machines are small and busy.
const patience = 90 * time.Second

// site is a release without nodes: a real API server, and for each pod the real keeper, seed and guard in the image's root file system, with the
// places of a pod. The test is kubelet.
type site struct {
	*kubetest.Cluster
	t    testing.TB
	root *pgtest.Root
	ns   string
	ip   string
	tls  sitecerts.Bundle
	// apart: each member has an address of its own, so that keepers hear each other.
	apart []string
	// more is added to the settings of pods that are made from then on, parameters are those of the server.
	more       string
	parameters string
	// users are those beside app that the settings have.
	users []string
	// revision is the sets' newest.
	revision string
	// failover is what their settings say of it; empty: nothing.
	failover string
}

const release = "db"

func newSite(t testing.TB, major int) *site {
	t.Helper()
	s := &site{Cluster: kubetest.Start(t), t: t, root: pgtest.OpenRoot(t, major), ip: address(t), parameters: `max_connections: "50"`, revision: "first"}
	s.ns = s.Namespace(t)
	var err error
	s.tls, err = sitecerts.Generate(sitecerts.Spec{Sites: []sitecerts.Site{{Fullname: release, Namespaces: []string{s.ns}, ClusterDomain: "cluster.local"}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.permit()
	s.secret("app", "secret-of-app")
	s.Do(t, "POST", s.path("services"), object{"metadata": object{"name": release + "-rw"}, "spec": object{"ports": []object{{"name": "postgresql", "port": 5432, "targetPort": "postgresql"}}}})
	return s
}

type object = map[string]any

func (s *site) path(parts ...string) string {
	return "/api/v1/namespaces/" + s.ns + "/" + strings.Join(parts, "/")
}

// secret makes a user's Secret.
func (s *site) secret(user, password string) {
	s.Do(s.t, "POST", s.path("secrets"), object{"metadata": object{"name": release + "-user-" + user}, "stringData": object{"password": password}})
}

// permit gives keeper the rights that the chart gives, and no more.
func (s *site) permit() {
	rule := func(group, resource string, names []string, verbs ...string) object {
		r := object{"apiGroups": []string{group}, "resources": []string{resource}, "verbs": verbs}
		if names != nil {
			r["resourceNames"] = names
		}
		return r
	}
	rbac := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + s.ns
	s.Do(s.t, "POST", rbac+"/roles", object{"metadata": object{"name": release}, "rules": []object{
		rule("coordination.k8s.io", "leases", nil, "create"),
		rule("coordination.k8s.io", "leases", []string{release}, "get", "update"),
		rule("", "pods", nil, "get", "list", "patch", "delete"),
		rule("apps", "statefulsets", []string{release + "-primary", release + "-replica"}, "get"),
		rule("", "persistentvolumeclaims", nil, "get", "list", "patch"),
		rule("", "services", []string{release + "-rw"}, "get"),
		rule("discovery.k8s.io", "endpointslices", nil, "create"),
		rule("discovery.k8s.io", "endpointslices", []string{release + "-rw-ipv4", release + "-rw-ipv6"}, "get", "update"),
		rule("", "events", nil, "create"),
		rule("", "secrets", []string{release + "-user-app", release + "-user-shop"}, "get"),
	}})
	s.Do(s.t, "POST", rbac+"/rolebindings", object{"metadata": object{"name": release},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": release},
		"subjects": []object{{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "keeper"}}})
}

// address is one of this machine's own: the API takes no loopback address as an endpoint. Packets to it never leave the machine.
func address(t testing.TB) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no IPv4 address besides loopback; add one to any interface")
	return ""
}

// member is one volume with the pods that come and go on it.
type member struct {
	*site
	pod    string
	born   string
	claim  string // UID
	volume string // inside path
	ip     string
	port   int

	dir    string // of the present pod
	uid    string
	listen string
	proxy  *kubetest.Proxy
	keeper *pgtest.Process
	guard  *pgtest.Process
	// resume goes on when seed had to wait for a person. held: it will have to, and does not say so.
	held   bool
	resume func()
}

func (s *site) member(pod, born string) *member {
	s.t.Helper()
	m := &member{site: s, pod: pod, born: born, volume: s.root.TempDir(s.t), ip: s.ip, port: freePort(s.t), proxy: s.Proxy(s.t)}
	if len(s.apart) > 0 {
		m.ip, s.apart = s.apart[0], s.apart[1:]
	}
	labels := object{"pgspan.io/cluster": release}
	o := s.Do(s.t, "POST", s.path("persistentvolumeclaims"), object{"metadata": object{"name": "data-" + pod, "labels": labels},
		"spec": object{"accessModes": []string{"ReadWriteOnce"}, "resources": object{"requests": object{"storage": "1Gi"}}}})
	m.claim = o["metadata"].(object)["uid"].(string)
	return m
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (m *member) at(place string) string { return m.dir + "/" + place }

// create makes a new pod: object, empty memory volumes, and the containers in kubelet's order.
func (m *member) create() {
	m.t.Helper()
	m.object()
	m.dir = m.root.TempDir(m.t)
	for _, dir := range []string{"control", "conf", "keys", "socket", "settings", "tls", "token", "bin"} {
		m.root.WriteFile(m.t, m.at(dir)+"/.keep", nil, 0o600)
	}
	m.configure()
	for name, content := range m.tls.Shared() {
		m.root.WriteFile(m.t, m.at("tls/"+name), content, 0o600)
	}
	ca, err := os.ReadFile(m.CAFile)
	if err != nil {
		m.t.Fatal(err)
	}
	m.root.WriteFile(m.t, m.at("token/ca.crt"), ca, 0o600)
	m.root.WriteFile(m.t, m.at("token/token"), []byte("kubetest-keeper\n"), 0o600)
	m.listen = "127.0.0.1:" + strconv.Itoa(freePort(m.t))
	m.startKeeper()
	m.startServer()
}

// configure writes the settings as they are now into the pod, as kubelet would.
func (m *member) configure() {
	m.t.Helper()
	failover := "{neverLead: {replica: true}}" // all these keepers share one address, so they cannot hear each other
	if m.ip != m.site.ip {
		failover = "{" + m.failover + "}"
	}
	users, passwords := []string{}, []string{}
	for _, user := range append([]string{"app"}, m.users...) {
		users, passwords = append(users, user+": {}"), append(passwords, user+": {name: "+release+"-user-"+user+", key: password}")
	}
	// The chart gives all members one name for their settings; here the port alone differs.
	name := sha256.Sum256([]byte(m.parameters + m.more + m.failover + strings.Join(users, " ")))
	m.root.WriteFile(m.t, m.at("settings/settings.yaml"), fmt.Appendf(nil, `# name: %x
release: %s
failover: %s
clusterDomain: cluster.local
major: %d
port: %d
members: {primary: 1, replicas: 1}
users: {%s}
passwords: {%s}
databases: {app: {owner: app}}
postgresql:
  parameters: {shared_buffers: 16MB, %s}
  initSQL: ["CREATE TABLE once (at timestamptz DEFAULT now())", "INSERT INTO once DEFAULT VALUES"]
%s
`, name[:8], release, failover, m.root.Major, m.port, strings.Join(users, ", "), strings.Join(passwords, ", "), m.parameters, m.more), 0o600)
}

// object makes the pod's object, as the StatefulSet's controller and the node would.
func (m *member) object() {
	m.t.Helper()
	o := m.Do(m.t, "POST", m.path("pods"), object{
		"metadata": object{"name": m.pod, "labels": object{"pgspan.io/cluster": release, "app.kubernetes.io/component": "database", "controller-revision-hash": m.revision}},
		"spec":     object{"containers": []object{{"name": "postgres", "image": "none"}}, "nodeName": "here", "terminationGracePeriodSeconds": 0},
	})
	m.uid = o["metadata"].(object)["uid"].(string)
	m.Do(m.t, "PATCH", m.path("pods", m.pod, "status"), object{"status": object{"podIP": m.ip, "podIPs": []object{{"ip": m.ip}},
		"conditions": []object{{"type": "Ready", "status": "True"}}}})
}

func (m *member) env() []string {
	env := []string{"PGSPAN_POD_NAME=" + m.pod, "PGSPAN_POD_UID=" + m.uid, "PGSPAN_POD_IP=" + m.ip, "PGSPAN_NAMESPACE=" + m.ns, "PGSPAN_NODE=here",
		"PGSPAN_BORN_AS=" + m.born, "PGSPAN_VOLUME=" + m.volume, "PGSPAN_FENCE_AFTER=6s"}
	for _, dir := range []string{"control", "conf", "keys", "socket", "settings", "tls"} {
		env = append(env, "PGSPAN_"+strings.ToUpper(dir)+"="+m.at(dir))
	}
	return env
}

func (m *member) startKeeper() {
	m.t.Helper()
	u, err := url.Parse(m.proxy.URL)
	if err != nil {
		m.t.Fatal(err)
	}
	// Pods that share one address cannot all have the one port that peers call: their keepers do not hear each other.
	listen := "127.0.0.1:" + strconv.Itoa(freePort(m.t))
	if m.ip != m.site.ip {
		listen = m.ip + ":8009"
	}
	// No second line of defence: servers on one machine need a port each, and keepers ask all of them at one.
	env := append(m.env(), "PGSPAN_LISTEN="+m.listen, "PGSPAN_PEERS_LISTEN="+listen, "PGSPAN_CREDENTIALS="+m.at("token"), "KUBERNETES_SERVICE_HOST="+u.Hostname(), "KUBERNETES_SERVICE_PORT="+u.Port(),
		"PGSPAN_LEASE_DURATION=10s", "PGSPAN_STOP_TIME=2s", "PGSPAN_PROBE_EVERY=0s", "GOMEMLIMIT=64MiB")
	m.keeper = m.run("./agents/keeper", env)
}

// startServer runs seed to its end and then guard, in the background: either may have to wait for a grant.
func (m *member) startServer() {
	m.t.Helper()
	env := append(m.env(), "PGSPAN_BIN="+filepath.Dir(m.root.Install(m.t, pgtest.Build(m.t, "./agents/guard"))), "PGSPAN_LISTEN=127.0.0.1:"+strconv.Itoa(freePort(m.t)), "PGSPAN_STOP_TIMEOUT=30s")
	seed := m.run("./agents/seed", env)
	m.guard = nil
	m.waitFor("seed ends, or a person is needed", func() bool {
		select {
		case <-seed.Done():
			return true
		default:
			return m.stuck()
		}
	})
	m.resume = func() {
		m.t.Helper()
		if code := seed.Wait(m.t, patience); code != 0 {
			m.t.Fatalf("seed of %s: exit status %d", m.pod, code)
		}
		m.guard = m.run("./agents/guard", env)
	}
	if !m.stuck() {
		m.resume()
	}
}

// stuck reports whether seed has been told to wait for a person.
func (m *member) stuck() bool {
	if m.held {
		return true
	}
	_, body := m.get("/metrics")
	return strings.Contains(body, "\npgspan_needs_person 1\n")
}

func (m *member) run(pkg string, env []string) *pgtest.Process {
	p := m.root.Start(m.t, pgtest.Command{Path: m.root.Install(m.t, pgtest.Build(m.t, pkg)), Env: env})
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("%s of %s said:\n%s%s", pkg, m.pod, p.Stdout(), p.Stderr())
		}
	})
	return p
}

// remove ends the pod in kubelet's order: the server's container first, the sidecar when that is gone (T-72), then the object.
func (m *member) remove() {
	m.t.Helper()
	m.end()
	m.Do(m.t, "DELETE", m.path("pods", m.pod)+"?gracePeriodSeconds=0", nil)
}

// end ends the pod's containers.
func (m *member) end() {
	m.t.Helper()
	if m.guard != nil {
		m.guard.Signal(m.t, syscall.SIGTERM)
		m.guard.Wait(m.t, patience)
	}
	m.keeper.Signal(m.t, syscall.SIGTERM)
	if code := m.keeper.Wait(m.t, 20*time.Second); code != 0 {
		m.t.Errorf("keeper of %s: exit status %d", m.pod, code)
	}
}

// kill ends the pod as a dead node does.
func (m *member) kill() {
	m.t.Helper()
	m.keeper.Kill()
	m.guard.Kill()
	m.Do(m.t, "DELETE", m.path("pods", m.pod)+"?gracePeriodSeconds=0", nil)
}

func (m *member) state() grant.State {
	s, _ := grant.ReadState(m.root.Outside(m.at("control")))
	return s
}

func (m *member) get(path string) (int, string) {
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get("http://" + m.listen + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b := make([]byte, 64<<10)
	n := 0
	for n < len(b) {
		k, err := resp.Body.Read(b[n:])
		n += k
		if err != nil {
			break
		}
	}
	return resp.StatusCode, string(b[:n])
}

// reason is the last thing the present keeper has said a person must do.
func (m *member) reason() string {
	out := m.keeper.Stderr()
	i := strings.LastIndex(out, `"msg":"a person is needed"`)
	if i < 0 {
		return ""
	}
	line, _, _ := strings.Cut(out[i:], "\n")
	return line
}

func (m *member) sql(q string) (string, error) {
	out, err := m.root.Run(pgtest.Command{Path: m.root.BinDir() + "/psql", Env: []string{"PGCONNECT_TIMEOUT=3"},
		Args: []string{"-h", m.at("socket"), "-p", strconv.Itoa(m.port), "-U", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", q}})
	return strings.TrimSpace(out), err
}

func (m *member) waitFor(what string, good func() bool) {
	m.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if good() {
			return
		}
	}
	_, ready := m.get("/readyz")
	m.t.Fatalf("%s: not within %v: %s; state %+v, readyz %q", m.pod, patience, what, m.state(), ready)
}

func (m *member) waitSQL(q, want string) {
	m.t.Helper()
	m.waitFor(q+" = "+want, func() bool { got, err := m.sql(q); return err == nil && got == want })
}

func (m *member) waitStatus(path string, want int) {
	m.t.Helper()
	m.waitFor(fmt.Sprintf("%s answers %d", path, want), func() bool { got, _ := m.get(path); return got == want })
}

// record is what stands in the Lease; empty when there is none.
func (s *site) record() string {
	o := s.Do(s.t, "GET", "/apis/coordination.k8s.io/v1/namespaces/"+s.ns+"/leases", nil)
	for _, item := range o["items"].([]any) {
		m := item.(object)["metadata"].(object)
		if m["name"] == release {
			return m["annotations"].(object)["pgspan.io/record"].(string)
		}
	}
	return ""
}
