package kube

import (
	"context"
	"fmt"
)

const secrets = "secrets"

// secret is a Secret as the API writes it: the values are base64 in JSON, which is how []byte is read and written.
type secret struct {
	Metadata metadata
	Data     map[string][]byte
}

// Secret reads a Secret's data and its version.
func (c *Client) Secret(ctx context.Context, name string) (map[string][]byte, string, error) {
	var s secret
	if err := c.do(ctx, request{method: "GET", group: groupCore, resource: secrets, name: name}, &s); err != nil {
		return nil, "", fmt.Errorf("read secret %s: %w", name, err)
	}
	return s.Data, s.Metadata.ResourceVersion, nil
}

// ReplaceSecret replaces a Secret's data if it is still at version; labels, annotations and type stay.
func (c *Client) ReplaceSecret(ctx context.Context, name, version string, data map[string][]byte) error {
	if version == "" { // the API server would take it for "whatever the version"
		return fmt.Errorf("replace secret %s: no version", name)
	}
	// The object just read carries what is kept; the version asked for is what makes it a compare-and-set.
	o := raw{}
	err := c.do(ctx, request{method: "GET", group: groupCore, resource: secrets, name: name}, &o)
	if err == nil {
		o.part("metadata")["resourceVersion"], o["data"] = version, data
		err = c.do(ctx, request{method: "PUT", group: groupCore, resource: secrets, name: name, body: o}, nil)
	}
	if err != nil {
		return fmt.Errorf("replace secret %s: %w", name, err)
	}
	return nil
}
