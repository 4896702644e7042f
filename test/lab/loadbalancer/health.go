package loadbalancer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/pgspan/pgspan/test/lab/wan"
)

const (
	checkPatience = 800 * time.Millisecond
	// failuresUntilDown keeps one late answer of a busy machine from moving addresses about.
	failuresUntilDown = 3
)

// health asks nodes whether they serve, from the site's router: it sees what the site's network sees, also when the
// machine's own leg is cut off from the site.
type health struct {
	client *http.Client

	mu       sync.Mutex
	failures map[string]int
}

func newHealth() *health {
	transport := &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return wan.Dial(ctx, wan.Namespace, network, address)
		}}
	return &health{client: &http.Client{Transport: transport, Timeout: checkPatience}, failures: map[string]int{}}
}

// serving asks all nodes at once and returns those that serve, in their order. A node that never served must answer
// once; one that did may miss some answers.
func (h *health) serving(ctx context.Context, nodes []topology.Host, port int) []string {
	var wait sync.WaitGroup
	good := make([]bool, len(nodes))
	for i, n := range nodes {
		wait.Go(func() { good[i] = h.check(ctx, n.Address(), port) })
	}
	wait.Wait()
	var names []string
	for i, n := range nodes {
		if good[i] {
			names = append(names, n.Name)
		}
	}
	return names
}

func (h *health) check(ctx context.Context, address netip.Addr, port int) bool {
	key := netip.AddrPortFrom(address, uint16(port)).String()
	answered, good := h.ask(ctx, key)
	h.mu.Lock()
	defer h.mu.Unlock()
	if good {
		h.failures[key] = 0
		return true
	}
	known, seen := h.failures[key]
	if !seen || answered {
		// An answer that says no is not a missed one.
		known = failuresUntilDown
	}
	h.failures[key] = known + 1
	return known+1 < failuresUntilDown
}

func (h *health) ask(ctx context.Context, hostPort string) (answered, good bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/healthz", hostPort), nil)
	if err != nil {
		return false, false
	}
	response, err := h.client.Do(request)
	if err != nil {
		return false, false
	}
	_ = response.Body.Close()
	return true, response.StatusCode == http.StatusOK
}
