// Package orders is what a person asks of a site: it finds the keepers, gives an order to the one that leads, and looks until what was wanted
// can be seen. It never acts on a server or on the Kubernetes API itself; only keepers do.
package orders

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Site reaches the keepers of one release.
type Site struct {
	hosts   []string // each may have many addresses
	client  *peers.Client
	resolve func(ctx context.Context, host string) ([]string, error)
	// Progress is told what is awaited, each time that it is something else; nil: nobody is.
	Progress func(sentence string)
}

// NewSite is about the keepers behind names like "db-members.ns.svc.cluster.local:8009"; all have one port. The name is also what their
// certificates are checked against. tlsDir holds ca.crt, keeper.crt and keeper.key.
func NewSite(keepers []string, tlsDir string, log *slog.Logger) (*Site, error) {
	s := &Site{resolve: net.DefaultResolver.LookupHost}
	port := 0
	for _, k := range keepers {
		host, text, err := net.SplitHostPort(k)
		if err != nil {
			host, text = k, strconv.Itoa(peers.Port)
		}
		p, err := strconv.Atoi(text)
		switch {
		case err != nil || p < 1 || p > 65535 || strings.TrimSpace(host) == "":
			return nil, fmt.Errorf("%q is no address of keepers: want a host and a port, like db-members:8009", k)
		case port != 0 && p != port:
			return nil, fmt.Errorf("keepers are given with the ports %d and %d: all have one", port, p)
		}
		port = p
		s.hosts = append(s.hosts, host)
	}
	if len(s.hosts) == 0 {
		return nil, errors.New("no keepers are given")
	}
	s.client = peers.NewClient(peers.ClientOptions{TLSDir: tlsDir, Port: port, Log: log})
	return s, nil
}

// Close ends the connections.
func (s *Site) Close() { s.client.Close() }

// keepers are all addresses, each as somebody who can be asked. Who it is, it says itself.
func (s *Site) keepers(ctx context.Context) ([]record.Member, error) {
	var out []record.Member
	var problems []error
	for _, host := range s.hosts {
		addresses, err := s.resolve(ctx, host)
		if err != nil {
			problems = append(problems, fmt.Errorf("look up the keepers %s: %w", host, err))
			continue
		}
		for _, a := range addresses {
			out = append(out, record.Member{ID: a, Pod: a, Host: host, Address: a})
		}
	}
	if len(out) == 0 {
		return nil, errors.New(oneLine(problems))
	}
	return out, nil
}

// oneLine is for people who asked one thing and are told one sentence.
func oneLine(problems []error) string {
	all := make([]string, len(problems))
	for i, p := range problems {
		all[i] = strings.ReplaceAll(p.Error(), "\n", "; ")
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// View is what was heard in one round.
type View struct {
	// Heard are the answers, ordered by pod; at are their addresses.
	Heard []peers.Status
	at    map[string]record.Member
	// Problems are why others did not answer.
	Problems []error
}

// Look asks all keepers at once. An error means that none answered.
func (s *Site) Look(ctx context.Context) (View, error) {
	keepers, err := s.keepers(ctx)
	if err != nil {
		return View{}, err
	}
	v := View{at: map[string]record.Member{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, k := range keepers {
		all.Go(func() {
			status, err := s.client.Status(ctx, k)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				v.Problems = append(v.Problems, err)
				return
			}
			if _, twice := v.at[status.Pod]; !twice { // a pod with two addresses
				v.Heard = append(v.Heard, status)
			}
			v.at[status.Pod] = k
		})
	}
	all.Wait()
	slices.SortFunc(v.Heard, func(a, b peers.Status) int { return cmp.Compare(a.Pod, b.Pod) })
	if len(v.Heard) == 0 {
		return v, fmt.Errorf("no keeper answers: %s", oneLine(v.Problems))
	}
	return v, nil
}

// Record is the newest that any keeper knows; false: none knows one.
func (v View) Record() (record.Record, bool) {
	var newest *record.Record
	for _, s := range v.Heard {
		if s.Record != nil && (newest == nil || s.Record.Version().Newer(newest.Version())) {
			newest = s.Record
		}
	}
	if newest == nil {
		return record.Record{}, false
	}
	return *newest, true
}

// Leader is who holds the record in force, by its own word, in the newest epoch of which anybody knows.
func (v View) Leader() (peers.Status, bool) {
	r, ok := v.Record()
	for _, s := range v.Heard {
		if ok && s.Leads && s.Record != nil && s.Record.Epoch == r.Epoch {
			return s, true
		}
	}
	return peers.Status{}, false
}

// Pod is what a pod's keeper said.
func (v View) Pod(name string) (peers.Status, bool) {
	for _, s := range v.Heard {
		if s.Pod == name {
			return s, true
		}
	}
	return peers.Status{}, false
}

// Give gives an order to the leader, or to any keeper when it is not heard, which passes it on.
func (s *Site) Give(ctx context.Context, v View, verb peers.Verb, o peers.Order) (peers.Receipt, error) {
	to := v.Heard[0]
	if l, ok := v.Leader(); ok {
		to = l
	}
	return s.client.Order(ctx, v.at[to.Pod], verb, o)
}

// GiveAll gives an order to every keeper that was heard. The best answer counts.
func (s *Site) GiveAll(ctx context.Context, v View, verb peers.Verb, o peers.Order) (peers.Receipt, error) {
	var best peers.Receipt
	var problems []error
	for _, heard := range v.Heard {
		r, err := s.client.Order(ctx, v.at[heard.Pod], verb, o)
		switch {
		case err != nil:
			problems = append(problems, err)
		case best.State == "" || best.State == peers.Unavailable:
			best = r
		}
	}
	if best.State == "" {
		return best, errors.New(oneLine(problems))
	}
	return best, nil
}

// present is the epoch that an order is made for.
func (v View) present() epoch.Epoch {
	r, _ := v.Record()
	return r.Epoch
}
