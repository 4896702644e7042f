package e2e

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgspan/pgspan/test/cluster"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// certs is a release that brings its own certificates, as several sites must.
var certs = newRelease(namespace, "certs", map[string]string{
	"replicas": "0", "tls.mode": "secret", "tls.secret.name": "certs-keys", "persistence.size": "300Mi",
})

// TestCertificates puts wrong keys before a server that has not started, then right ones, then changes them under the running server.
func TestCertificates(t *testing.T) {
	spec := sitecerts.Spec{Sites: []sitecerts.Site{{Fullname: certs.fullname, Namespaces: []string{namespace}, ClusterDomain: "cluster.local"}}}
	now := time.Now()
	good, err := sitecerts.Generate(spec, now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := sitecerts.Generate(spec, now)
	if err != nil {
		t.Fatal(err)
	}
	old := spec
	old.CALife, old.LeafLife = 48*time.Hour, 24*time.Hour
	expired, err := sitecerts.Generate(old, now.Add(-36*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	mismatched := maps.Clone(good.Shared())
	mismatched["server.key"] = other.Shared()["server.key"]

	pod := certs.pod("primary-0")
	run(t, "mismatched_key_pair_is_refused_with_a_sentence", 2*time.Minute, func(t *testing.T, ctx context.Context) {
		certs.putKeys(t, ctx, mismatched)
		certs.install(t, ctx, nil)
		certs.says(t, ctx, pod, "seed", "server.key")
		certs.says(t, ctx, pod, "seed", "does not belong to")
	})
	run(t, "expired_certificate_is_refused_with_a_sentence", 2*time.Minute, func(t *testing.T, ctx context.Context) {
		certs.putKeys(t, ctx, expired.Shared())
		certs.says(t, ctx, pod, "seed", "expired")
	})
	run(t, "right_keys_let_the_server_start", 2*time.Minute, func(t *testing.T, ctx context.Context) {
		certs.putKeys(t, ctx, good.Shared())
		certs.ready(t, ctx, 1)
	})
	if t.Failed() {
		certs.evidence(t)
		return
	}
	run(t, "rotated_certificate_is_served_without_a_restart", 2*time.Minute, func(t *testing.T, ctx context.Context) {
		address, err := site.Address(ctx, namespace, certs.fullname+"-rw")
		if err != nil {
			t.Fatal(err)
		}
		before, err := served(ctx, address)
		if err != nil {
			t.Fatal(err)
		}
		started := certs.sql(t, ctx, pod, "select pg_postmaster_start_time()")
		// Made anew by the same CA, as a renewal does.
		authority, err := good.Authority(now)
		if err != nil {
			t.Fatal(err)
		}
		next, err := sitecerts.Issue(authority, spec, now)
		if err != nil {
			t.Fatal(err)
		}
		certs.putKeys(t, ctx, next.Shared())
		err = cluster.Wait(ctx, "another certificate is served", func(ctx context.Context) (bool, string, error) {
			got, err := served(ctx, address)
			return got != before, got, err
		})
		if err != nil {
			certs.evidence(t)
			t.Fatal(err)
		}
		if got := certs.sql(t, ctx, pod, "select pg_postmaster_start_time()"); got != started {
			t.Errorf("the server was restarted: started %s, before %s", got, started)
		}
	})
	run(t, "half_rotated_secret_does_not_replace_good_keys", time.Minute, func(t *testing.T, ctx context.Context) {
		certs.putKeys(t, ctx, mismatched)
		certs.says(t, ctx, pod, "postgres", "does not belong to")
		if got := certs.sql(t, ctx, pod, "select 1"); got != "1" {
			t.Errorf("the server answers %q", got)
		}
		certs.putKeys(t, ctx, good.Shared())
	})
	certs.remove(t)
}

// putKeys makes or replaces the Secret, and goes on touching the pods for some seconds: kubelet looks at a pod's Secrets when the pod
// changes, and otherwise within about a minute.
func (r *release) putKeys(t *testing.T, ctx context.Context, data map[string][]byte) {
	t.Helper()
	if err := site.Namespace(ctx, r.namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		t.Fatal(err)
	}
	secrets := site.Client.CoreV1().Secrets(r.namespace)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: r.set["tls.secret.name"]}, Data: data}
	_, err := secrets.Update(ctx, s, metav1.UpdateOptions{})
	if err != nil {
		_, err = secrets.Create(ctx, s, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	go r.touchFor(ctx, 10*time.Second)
}

// touchFor goes on touching: kubelet may look before it has seen the new Secret or ConfigMap; touched once more, and again, it looks again.
func (r *release) touchFor(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for ctx.Err() == nil {
		r.touch(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// touch changes an annotation of each pod. What fails is tried again by the caller.
func (r *release) touch(ctx context.Context) {
	pods, err := site.Pods(ctx, r.namespace, r.selector())
	if err != nil {
		return
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"pgspan.test/touched":"%d"}}}`, time.Now().UnixNano())
	for _, p := range pods {
		_, _ = site.Client.CoreV1().Pods(r.namespace).Patch(ctx, p.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	}
}

// served is the serial number of the certificate that a server presents.
func served(ctx context.Context, address string) (string, error) {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(address, "5432"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return "", err
	}
	// PostgreSQL's SSLRequest: length and code (protocol-message-formats).
	var request [8]byte
	binary.BigEndian.PutUint32(request[:4], 8)
	binary.BigEndian.PutUint32(request[4:], 80877103)
	if _, err := conn.Write(request[:]); err != nil {
		return "", err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[0] != 'S' {
		return "", fmt.Errorf("server answers %q to SSLRequest: %w", answer[:], err)
	}
	// What is presented is the question, not whether to trust it.
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.HandshakeContext(ctx); err != nil {
		return "", err
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Text(16), nil
}

// remove takes a release of one test away, volumes and Lease included: what the README calls removing everything.
func (r *release) remove(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.uninstall(t, ctx)
	r.wipe(t, ctx)
}

// wipe deletes what uninstall leaves.
func (r *release) wipe(t *testing.T, ctx context.Context) {
	t.Helper()
	list := metav1.ListOptions{LabelSelector: r.selector()}
	if err := site.Client.CoreV1().PersistentVolumeClaims(r.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, list); err != nil {
		t.Fatal(err)
	}
	if err := site.Client.CoordinationV1().Leases(r.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, list); err != nil {
		t.Fatal(err)
	}
	if err := site.Client.CoreV1().Secrets(r.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, list); err != nil {
		t.Fatal(err)
	}
}
