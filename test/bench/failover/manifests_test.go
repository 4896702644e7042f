package main

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// documents renders a manifest and reads each of its objects strictly: a key in the wrong place is an error.
func documents(t *testing.T, manifest string, values map[string]any) map[string]any {
	t.Helper()
	text, err := render(manifest, values)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		into, known := map[string]any{
			"Secret": &corev1.Secret{}, "ServiceAccount": &corev1.ServiceAccount{}, "Role": &rbacv1.Role{}, "RoleBinding": &rbacv1.RoleBinding{}, "Service": &corev1.Service{},
			"ConfigMap": &corev1.ConfigMap{}, "StatefulSet": &appsv1.StatefulSet{}, "Deployment": &appsv1.Deployment{}, "DaemonSet": &appsv1.DaemonSet{},
		}[head.Kind]
		if !known {
			t.Fatalf("kind %q of\n%s", head.Kind, doc)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Errorf("%s %s: %v", head.Kind, head.Metadata.Name, err)
		}
		all[head.Kind+"/"+head.Metadata.Name] = into
	}
	return all
}

func TestManifestsAreWhatKubernetesTakes(t *testing.T) {
	cert, key, err := selfSigned("db.x.svc", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	all := documents(t, patroniManifest, map[string]any{
		"Superuser": "s", "Replication": "r", "App": "a", "Tag": "t", "Parameters": map[string]string{"max_wal_size": "1GB", "shared_buffers": "128MB"},
		"Certificate": base64.StdEncoding.EncodeToString(cert), "Key": base64.StdEncoding.EncodeToString(key),
	})
	var config struct {
		Scope     string
		Bootstrap struct {
			DCS struct {
				PostgreSQL struct{ Parameters map[string]string } `json:"postgresql"`
			} `json:"dcs"`
		}
	}
	text := all["ConfigMap/db-patroni"].(*corev1.ConfigMap).Data["patroni.yml"]
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if got := config.Bootstrap.DCS.PostgreSQL.Parameters; config.Scope != "db" || got["max_wal_size"] != "1GB" || got["shared_buffers"] != "128MB" || got["wal_log_hints"] != "on" {
		t.Errorf("Patroni's configuration: %+v", config)
	}
	set := all["StatefulSet/db"].(*appsv1.StatefulSet)
	if *set.Spec.Replicas != members || !strings.HasSuffix(set.Spec.Template.Spec.Containers[0].Image, "/patroni:t") {
		t.Errorf("StatefulSet: %d of %s", *set.Spec.Replicas, set.Spec.Template.Spec.Containers[0].Image)
	}
	if s := all["Service/db"].(*corev1.Service); len(s.Spec.Selector) > 0 || s.Spec.Type != corev1.ServiceTypeNodePort {
		t.Errorf("Service: %+v", s.Spec)
	}
	load := documents(t, loadManifest, map[string]any{"Host": "h", "User": "u", "Password": "p", "Tag": "t"})
	if len(load) != 3 {
		t.Errorf("load: %v", load)
	}
	if _, err := render(loadManifest, map[string]any{"Host": "h"}); err == nil {
		t.Error("a manifest with a value missing is rendered")
	}
}
