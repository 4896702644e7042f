package builder

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// lab is the range of addresses of the project's own test clusters (RFC 2544), which no registry of the real world has.
var lab = netip.MustParsePrefix("198.18.0.0/15")

// PlainByDefault says whether a registry may be spoken to without TLS, unasked: one on this machine or in the lab.
func PlainByDefault(registry string) bool {
	host, _, _ := strings.Cut(registry, "/")
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	addr = addr.Unmap()
	return addr.IsLoopback() || lab.Contains(addr)
}

// Push sends the images that Build made of one recipe to a registry: one manifest, or a list of them when there are several
// architectures. What the registry has already is not sent again. It returns the names they have there.
func (b *Builder) Push(ctx context.Context, built []Built, registry string, plain bool) ([]string, error) {
	if len(built) == 0 {
		return nil, fmt.Errorf("there is nothing to push")
	}
	local, err := b.Engine.List(ctx)
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, part := range built {
		ids[part.Arch] = local[part.Ref]
	}
	refs := built[0].Refs(registry, b.Tree.Version)
	for _, to := range refs {
		if holds(ctx, to, ids, plain) {
			continue
		}
		if len(built) == 1 {
			if err := b.Engine.Push(ctx, built[0].Ref, to, plain); err != nil {
				return nil, fmt.Errorf("push %s: %w", to, err)
			}
			continue
		}
		parts := make([]string, len(built))
		for i, part := range built {
			parts[i] = part.Ref
		}
		if err := b.Engine.PushList(ctx, parts, to, plain); err != nil {
			return nil, fmt.Errorf("push %s: %w", to, err)
		}
	}
	return refs, nil
}
