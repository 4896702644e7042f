package kube

import (
	"context"
	"fmt"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Secret reads a Secret's data and its version.
func (c *Client) Secret(ctx context.Context, name string) (map[string][]byte, string, error) {
	var s core.Secret
	if err := c.do(ctx, c.get("secrets", name), &s); err != nil {
		return nil, "", fmt.Errorf("read secret %s: %w", name, err)
	}
	return s.Data, s.ResourceVersion, nil
}

// ReplaceSecret replaces a Secret's data if it is still at version; labels, annotations and type stay.
func (c *Client) ReplaceSecret(ctx context.Context, name, version string, data map[string][]byte) error {
	if version == "" { // the API server would take it for "whatever the version"
		return fmt.Errorf("replace secret %s: no version", name)
	}
	var s core.Secret
	if err := c.do(ctx, c.get("secrets", name), &s); err != nil {
		return fmt.Errorf("replace secret %s: %w", name, err)
	}
	// The object just read carries what is kept; the version asked for is what makes it a compare-and-set.
	s.TypeMeta = meta.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	s.ResourceVersion, s.Data = version, data
	req := c.core.Put().Namespace(c.namespace).Resource("secrets").Name(name).Body(&s)
	if err := c.do(ctx, req, &s); err != nil {
		return fmt.Errorf("replace secret %s: %w", name, err)
	}
	return nil
}
