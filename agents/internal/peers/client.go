package peers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// tellLimit bounds a Tell in all, dialLimit the TCP connection of any exchange: the kernel of a member that lives answers however busy
	// its keeper is.
	tellLimit = 700 * time.Millisecond
	dialLimit = 300 * time.Millisecond
)

// ClientOptions is what a client is told once.
type ClientOptions struct {
	// TLSDir is the mounted Secret: ca.crt, keeper.crt, keeper.key.
	TLSDir string
	// Port is where the others listen; 0 means Port.
	Port int
	Log  *slog.Logger
}

// Client asks the other keepers. It keeps one connection to each.
type Client struct {
	certificates *certificates
	address      func(record.Member) string

	mu    sync.Mutex
	links map[string]*link // by member id
}

// NewClient makes a client.
func NewClient(o ClientOptions) *Client {
	port := strconv.Itoa(o.Port)
	if o.Port == 0 {
		port = strconv.Itoa(Port)
	}
	return &Client{
		certificates: newCertificates(o.TLSDir, "keeper", o.Log),
		address:      func(m record.Member) string { return net.JoinHostPort(m.Address, port) },
		links:        map[string]*link{},
	}
}

// Ask asks all members but one (the caller itself) how they stand, all at once, and returns an answer for each of them within timeout. What does
// not answer costs the others' answers nothing but that time.
func (c *Client) Ask(ctx context.Context, members []record.Member, except string, timeout time.Duration) map[string]Answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := map[string]Answer{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, m := range members {
		if m.ID == except {
			continue
		}
		all.Go(func() {
			s, err := c.Standing(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			answers[m.ID] = Answer{Standing: s, Err: err}
		})
	}
	all.Wait()
	c.tidy(keepFor)
	return answers
}

// Standing asks one member how it stands.
func (c *Client) Standing(ctx context.Context, m record.Member) (Standing, error) {
	body, err := c.exchange(ctx, m, http.MethodGet, pathStanding, nil, http.StatusOK)
	if err != nil {
		return Standing{}, fmt.Errorf("ask %s: %w", m.Pod, err)
	}
	var s Standing
	if err := json.Unmarshal(body, &s); err != nil {
		return Standing{}, fmt.Errorf("ask %s: parse the answer: %w", m.Pod, err)
	}
	if err := s.Validate(); err != nil {
		return Standing{}, fmt.Errorf("ask %s: %w", m.Pod, err)
	}
	// Addresses are given to other pods, and pods of one name to other volumes (SAFETY rule 1).
	if s.Me.Member != m.ID {
		return Standing{}, fmt.Errorf("ask %s: member %s answers there, not %s", m.Pod, s.Me.Member, m.ID)
	}
	return s, nil
}

// Tell says to a member that the record has changed to v, or soon will have, so that it looks now. It is a hint: the member finds out by itself a
// little later if it is lost.
func (c *Client) Tell(ctx context.Context, m record.Member, from grant.Incarnation, v epoch.Version) error {
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	body, err := json.Marshal(look{Format: Format, From: from, Version: v})
	if err == nil {
		_, err = c.exchange(ctx, m, http.MethodPost, pathLook, body, http.StatusNoContent)
	}
	if err != nil {
		return fmt.Errorf("tell %s to look: %w", m.Pod, err)
	}
	return nil
}

// TLS is the configuration of a connection to something else of the site, as this keeper: its server proves that it is host.
func (c *Client) TLS(host string) (*tls.Config, error) {
	material, err := c.certificates.current()
	if err != nil {
		return nil, err
	}
	t := material.calling(host)
	t.MinVersion = tls.VersionTLS12 // a server's ssl_max_protocol_version is the user's
	return t, nil
}

// Close ends the connections that are not in use. The client can be used again.
func (c *Client) Close() { c.tidy(0) }

// exchange makes one request and returns the answer's body.
func (c *Client) exchange(ctx context.Context, m record.Member, method, path string, body []byte, want int) ([]byte, error) {
	switch {
	case m.Address == "":
		return nil, errors.New("its address is not known")
	case m.Host == "":
		return nil, errors.New("its host is not known, against which to check its certificate")
	}
	material, err := c.certificates.current()
	if err != nil {
		return nil, err
	}
	return c.link(m.ID).exchange(ctx, target{address: c.address(m), host: m.Host, material: material}, request{method, path, body, want})
}

func (c *Client) link(id string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[id]
	if l == nil {
		l = newLink()
		c.links[id] = l
	}
	return l
}

// tidy ends connections that were not used for so long: those of members that are listed no more.
func (c *Client) tidy(unused time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		l.rest(unused)
	}
}
