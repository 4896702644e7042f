package kube_test

import (
	"reflect"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/kube"
)

func TestSecretIsReplacedByCompareAndSetAndKeepsTheRest(t *testing.T) {
	c, k, ns := admin(t)
	ctx := t.Context()
	path := "/api/v1/namespaces/" + ns + "/secrets"
	c.Do(t, "POST", path, object{"metadata": object{"name": "tls", "labels": object{"keep": "1"}}, "type": "example.com/own", "stringData": object{"a": "one\x01", "gone": "x"}})
	data, version, err := k.Secret(ctx, "tls")
	if err != nil || !reflect.DeepEqual(data, map[string][]byte{"a": []byte("one\x01"), "gone": []byte("x")}) {
		t.Fatalf("got %v, %v", data, err)
	}
	if err := k.ReplaceSecret(ctx, "tls", "", data); err == nil {
		t.Error("replaced whatever the version")
	}
	want := map[string][]byte{"a": {0, 255, 10}, "b": []byte("two")}
	if err := k.ReplaceSecret(ctx, "tls", version, want); err != nil {
		t.Fatal(err)
	}
	if err := k.ReplaceSecret(ctx, "tls", version, data); !kube.IsConflict(err) {
		t.Errorf("on an old version: got %v, want a conflict", err)
	}
	if got, _, err := k.Secret(ctx, "tls"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	o := c.Do(t, "GET", path+"/tls", nil)
	if o["type"] != "example.com/own" || o["metadata"].(object)["labels"].(object)["keep"] != "1" {
		t.Errorf("the rest did not stay: %v", o)
	}
	if _, _, err := k.Secret(ctx, "none"); !kube.IsNotFound(err) {
		t.Errorf("no such secret: got %v", err)
	}
}
