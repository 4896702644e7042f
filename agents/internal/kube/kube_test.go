package kube_test

import (
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/kubetest"
)

type object = map[string]any

func client(t *testing.T, c *kubetest.Cluster, url, token, ns string) *kube.Client {
	t.Helper()
	k, err := kube.New(kube.Config{Host: url, CAFile: c.CAFile, TokenFile: token, Namespace: ns, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func admin(t *testing.T) (*kubetest.Cluster, *kube.Client, string) {
	t.Helper()
	c := kubetest.Start(t)
	ns := c.Namespace(t)
	return c, client(t, c, c.URL, c.Token(t, "admin"), ns), ns
}

func TestEndpointsForADualStackService(t *testing.T) {
	c, k, ns := admin(t)
	ctx := t.Context()
	api := "/api/v1/namespaces/" + ns
	c.Do(t, "POST", api+"/services", object{"metadata": object{"name": "a-rw"}, "spec": object{"ports": []object{
		{"name": "postgresql", "port": 5432, "targetPort": "postgresql"}, {"name": "other", "port": 80, "targetPort": 8080}, {"name": "plain", "port": 81}}}})
	service, err := k.Service(ctx, "a-rw")
	if err != nil {
		t.Fatal(err)
	}
	if want := []kube.ServicePort{{Name: "postgresql"}, {Name: "other", Target: 8080}, {Name: "plain", Target: 81}}; !reflect.DeepEqual(service.Ports, want) {
		t.Errorf("ports: got %v, want %v", service.Ports, want)
	}
	if !reflect.DeepEqual(service.Families, []kube.Family{kube.IPv4}) {
		t.Errorf("families: got %v", service.Families)
	}
	for family, address := range map[kube.Family]string{kube.IPv4: "192.0.2.7", kube.IPv6: "2001:db8::7"} {
		want := kube.Slice{Object: kube.Object{Name: "a-rw-" + strings.ToLower(string(family)), Labels: map[string]string{"x": "y"}, Annotations: map[string]string{"epoch": "1.1"}},
			Family: family, Service: service.Object, Ports: []kube.ServicePort{{Name: "postgresql", Target: 5432}}, Address: address, Node: "n1", Pod: "a-0", PodUID: "u1"}
		if _, err := k.Slice(ctx, want.Name); !kube.IsNotFound(err) {
			t.Fatalf("before: got %v, want not found", err)
		}
		made, err := k.CreateSlice(ctx, want)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.CreateSlice(ctx, want); !kube.IsExists(err) {
			t.Errorf("again: got %v, want exists", err)
		}
		// What others put there, and what we do not know, stays.
		path := "/apis/discovery.k8s.io/v1/namespaces/" + ns + "/endpointslices/" + want.Name
		c.Do(t, "PATCH", path, object{"metadata": object{"finalizers": []string{"example.com/keep"}, "annotations": object{"note": "z"}}})
		made.Address, made.Pod = address[:len(address)-1]+"8", "a-1"
		if _, err := k.UpdateSlice(ctx, made); !kube.IsConflict(err) {
			t.Errorf("on an old version: got %v, want a conflict", err)
		}
		is, err := k.Slice(ctx, want.Name)
		if err != nil {
			t.Fatal(err)
		}
		is.Address, is.Pod = made.Address, made.Pod
		if is, err = k.UpdateSlice(ctx, is); err != nil {
			t.Fatal(err)
		}
		if is.Address != made.Address || is.Pod != "a-1" || is.Node != "n1" || is.PodUID != "u1" || is.Service.UID != service.UID || is.Annotations["note"] != "z" || is.Labels["x"] != "y" {
			t.Errorf("after: got %+v", is)
		}
		o := c.Do(t, "GET", path, nil)
		m := o["metadata"].(object)
		if m["finalizers"] == nil || m["labels"].(object)["kubernetes.io/service-name"] != "a-rw" || m["labels"].(object)["endpointslice.kubernetes.io/managed-by"] != "keeper.pgspan.io" {
			t.Errorf("stored: %v", m)
		}
		if e := o["endpoints"].([]any); len(e) != 1 || e[0].(object)["conditions"].(object)["ready"] != true {
			t.Errorf("endpoints: %v", e)
		}
		c.Do(t, "PATCH", path, object{"metadata": object{"finalizers": nil}, "endpoints": []any{}})
		if is, err = k.Slice(ctx, want.Name); err != nil || is.Address != "" {
			t.Errorf("emptied by hand: got %+v, %v", is, err)
		}
		is.Address = address
		if is, err = k.UpdateSlice(ctx, is); err != nil || is.Address != address {
			t.Errorf("filled again: got %+v, %v", is, err)
		}
	}
}

func TestMarksGuardedByUID(t *testing.T) {
	c, k, ns := admin(t)
	ctx := t.Context()
	o := c.Do(t, "POST", "/api/v1/namespaces/"+ns+"/pods", object{"metadata": object{"name": "p", "labels": object{"keep": "1", "drop": "1"}}, "spec": object{"containers": []object{{"name": "c", "image": "i"}}}})
	uid := o["metadata"].(object)["uid"].(string)
	value := "primary"
	marks := kube.Marks{Labels: map[string]*string{"role": &value, "drop": nil}, Annotations: map[string]*string{"note": &value}}
	if err := k.MarkPod(ctx, "p", "00000000-0000-0000-0000-000000000000", marks); err == nil {
		t.Error("another pod of the same name was marked")
	}
	if err := k.MarkPod(ctx, "p", uid, marks); err != nil {
		t.Fatal(err)
	}
	p, err := k.Pod(ctx, "p")
	if err != nil || !reflect.DeepEqual(p.Labels, map[string]string{"keep": "1", "role": "primary"}) || p.Annotations["note"] != "primary" || p.UID != uid {
		t.Errorf("got %+v, %v", p, err)
	}
	if list, err := k.Pods(ctx, "role=primary"); err != nil || len(list) != 1 {
		t.Errorf("list: got %+v, %v", list, err)
	}
	if list, err := k.Pods(ctx, "role=replica"); err != nil || len(list) != 0 {
		t.Errorf("list of nothing: got %+v, %v", list, err)
	}
	if err := k.CreateEvent(ctx, kube.Event{Pod: "p", PodUID: uid, Reason: "Tried", Message: "a message", At: time.Now(), Warning: true}); err != nil {
		t.Error(err)
	}
	items := c.Do(t, "GET", "/api/v1/namespaces/"+ns+"/events", nil)["items"].([]any)
	if len(items) != 1 || items[0].(object)["involvedObject"].(object)["uid"] != uid || items[0].(object)["type"] != "Warning" {
		t.Errorf("events: %v", items)
	}
}

// A claim is asked to grow as the API allows: not another one of its name, never smaller, and not where its class does not expand.
func TestClaimsGrow(t *testing.T) {
	c, k, ns := admin(t)
	ctx := t.Context()
	api := "/api/v1/namespaces/" + ns + "/persistentvolumeclaims"
	for class, expands := range map[string]bool{"grows": true, "stays": false} {
		c.Do(t, "POST", "/apis/storage.k8s.io/v1/storageclasses", object{"metadata": object{"name": class}, "provisioner": "example.com/x", "allowVolumeExpansion": expands})
		c.Do(t, "POST", api, object{"metadata": object{"name": class}, "spec": object{"accessModes": []string{"ReadWriteOnce"},
			"storageClassName": class, "volumeName": "pv-" + class, "resources": object{"requests": object{"storage": "1.5Gi"}}}})
		c.Do(t, "PATCH", api+"/"+class+"/status", object{"status": object{"phase": "Bound", "capacity": object{"storage": "2Gi"}}})
	}
	claims, err := k.Claims(ctx, "")
	if err != nil || len(claims) != 2 {
		t.Fatalf("got %v, %v", claims, err)
	}
	for _, claim := range claims {
		if claim.Request != 3<<29 || claim.Capacity != 2<<30 || claim.Deleting {
			t.Errorf("got %+v", claim)
		}
		if err := k.GrowClaim(ctx, claim.Name, "00000000-0000-0000-0000-000000000000", "4Gi"); err == nil {
			t.Errorf("another claim named %s was grown", claim.Name)
		}
		err := k.GrowClaim(ctx, claim.Name, claim.UID, "4Gi")
		switch {
		case claim.Name == "grows" && err != nil:
			t.Error(err)
		case claim.Name == "stays" && (err == nil || !strings.Contains(err.Error(), "must support resize")):
			t.Errorf("a class that does not expand: got %v", err)
		}
	}
	grown, err := k.Claim(ctx, "grows")
	if err != nil || grown.Request != 4<<30 {
		t.Errorf("got %+v, %v", grown, err)
	}
	if err := k.GrowClaim(ctx, "grows", grown.UID, "1Gi"); err == nil {
		t.Error("a claim was made smaller")
	}
}

// What is no word of the API about this object must not be taken for "there is none": somebody would create a database.
func TestOnlyTheAPIsOwnWordMeansNotFound(t *testing.T) {
	c, k, ns := admin(t)
	ctx := t.Context()
	if _, err := k.Claim(ctx, "data-none"); !kube.IsNotFound(err) {
		t.Errorf("no such claim: got %v, want not found", err)
	}
	p := c.Proxy(t)
	behind := client(t, c, p.URL, c.Token(t, "admin"), ns)
	for _, status := range []int{302, 401, 403, 404, 409, 410, 429, 500, 502, 503, 504} {
		p.Break(func(*http.Request) kubetest.Fault { return kubetest.Fault{Status: status} })
		if _, err := behind.Claim(ctx, "data-none"); err == nil || kube.IsNotFound(err) || kube.IsConflict(err) || kube.IsExists(err) {
			t.Errorf("%d of a proxy: got %v", status, err)
		}
	}
	nobody := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(nobody, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, c, c.URL, nobody, ns).Claim(ctx, "data-none"); err == nil || kube.IsNotFound(err) {
		t.Errorf("unknown token: got %v", err)
	}
	if _, err := client(t, c, c.URL, c.Token(t, "keeper"), ns).Claim(ctx, "data-none"); err == nil || kube.IsNotFound(err) || !strings.Contains(strings.ToLower(err.Error()), "forbidden") {
		t.Errorf("forbidden: got %v", err)
	}
}

func TestRotatedTokenIsRead(t *testing.T) {
	c, _, ns := admin(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("expired"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := client(t, c, c.URL, token, ns)
	if _, err := k.Pods(t.Context(), ""); err == nil {
		t.Fatal("an expired token is accepted")
	}
	if err := os.WriteFile(token, []byte("kubetest-admin"), 0o600); err != nil {
		t.Fatal(err)
	}
	// client-go reads the file again after the second refusal of one text: at the first, the file may just have been read.
	err := error(nil)
	for range 2 {
		if _, err = k.Pods(t.Context(), ""); err == nil {
			return
		}
	}
	t.Errorf("after the rotation: %v", err)
}

func TestConnectionsAreHTTP1AndClosedAfterAFailure(t *testing.T) {
	c, _, ns := admin(t)
	p := c.Proxy(t)
	k := client(t, c, p.URL, c.Token(t, "admin"), ns)
	var from []string
	status := 0
	p.Break(func(r *http.Request) kubetest.Fault {
		if r.ProtoMajor != 1 {
			t.Errorf("got %s", r.Proto)
		}
		from = append(from, r.RemoteAddr)
		return kubetest.Fault{Status: status}
	})
	ask := func() { _, _ = k.Pods(t.Context(), "") }
	ask()
	ask()
	status = 503
	ask()
	status = 0
	ask()
	if len(from) != 4 {
		t.Fatalf("got %d requests, want 4: something was sent twice", len(from))
	}
	if from[0] != from[1] || from[1] != from[2] {
		t.Errorf("a good connection was not used again: %v", from)
	}
	if from[2] == from[3] {
		t.Errorf("a connection was used again after a failure: %v", from)
	}
}

func TestTryingALeaseChangesNothing(t *testing.T) {
	c, k, ns := admin(t)
	ctx := t.Context()
	if err := k.TryLease(ctx, "a"); !kube.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
	made, err := k.CreateLease(ctx, kube.Lease{Object: kube.Object{Name: "a"}, Holder: "x", Duration: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.TryLease(ctx, "a"); err != nil {
		t.Error(err)
	}
	if now, err := k.Lease(ctx, "a"); err != nil || now.Version != made.Version {
		t.Errorf("version %s, %v; want %s", now.Version, err, made.Version)
	}
	rbac := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + ns
	c.Do(t, "POST", rbac+"/roles", object{"metadata": object{"name": "reader"}, "rules": []object{{"apiGroups": []string{"coordination.k8s.io"}, "resources": []string{"leases"}, "verbs": []string{"get"}}}})
	c.Do(t, "POST", rbac+"/rolebindings", object{"metadata": object{"name": "reader"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
		"subjects": []object{{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "keeper"}}})
	reader := client(t, c, c.URL, c.Token(t, "keeper"), ns)
	if _, err := reader.Lease(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := reader.TryLease(ctx, "a"); err == nil {
		t.Error("whoever may only read it is told that it can be written")
	}
}
