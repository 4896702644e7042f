package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const pathPromise = "/v1/promise"

// longestPromise bounds what anybody may ask for.
const longestPromise = 10 * time.Minute

// Plea is what a leader asks of the others while it cannot write to the store: to hold still, which is to take no record and to vote on none, for
// Duration from when they receive it (SAFETY rule 17).
type Plea struct {
	Format   int               `json:"format"`
	Leader   grant.Incarnation `json:"leader"`
	Epoch    epoch.Epoch       `json:"epoch"`
	Reign    string            `json:"reign,omitempty"`
	Version  epoch.Version     `json:"version"`
	Duration record.Duration   `json:"duration"`
	// Withdrawn says that the leader's server is proven stopped and that it has given up its right: promises to it hold nobody back.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

func (p Plea) validate() error {
	if err := understood("the request", p.Format); err != nil {
		return err
	}
	switch {
	case nobody(p.Leader):
		return errors.New("the request does not say whose it is")
	case p.Epoch.IsZero() || p.Version.IsZero():
		return errors.New("the request names no epoch or no version of the record")
	case p.Duration <= 0 || time.Duration(p.Duration) > longestPromise:
		return fmt.Errorf("the request asks for %s", p.Duration)
	}
	return nil
}

// Promise is the answer.
type Promise struct {
	Format int               `json:"format"`
	Me     grant.Incarnation `json:"me"`
	// Given: it holds still from the receipt on. Why says why not.
	Given bool   `json:"given"`
	Why   string `json:"why,omitempty"`
	// Wrote is how many seconds ago this member has last written to the store, as far as it tried; nil: it could not, or did not try yet.
	Wrote *float64 `json:"wrote,omitempty"`
}

// PromiseAnswer is what came of asking one member.
type PromiseAnswer struct {
	Promise Promise
	Err     error
}

// promise answers a plea.
func (s *Server) promise(w http.ResponseWriter, r *http.Request) {
	var p Plea
	err := read(w, r, &p)
	if err == nil {
		err = p.validate()
	}
	if err == nil && s.o.Promise == nil {
		err = errors.New("this keeper makes no promises")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := s.o.Promise(p)
	answer.Format = Format
	reply(w, answer)
}

// Plead asks all members but the leader itself, all at once, and returns an answer for each of them within timeout.
func (c *Client) Plead(ctx context.Context, members []record.Member, p Plea, timeout time.Duration) map[string]PromiseAnswer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p.Format = Format
	answers := map[string]PromiseAnswer{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, m := range members {
		if m.ID == p.Leader.Member {
			continue
		}
		all.Go(func() {
			a, err := c.plead(ctx, m, p)
			mu.Lock()
			defer mu.Unlock()
			answers[m.ID] = PromiseAnswer{Promise: a, Err: err}
		})
	}
	all.Wait()
	return answers
}

func (c *Client) plead(ctx context.Context, m record.Member, p Plea) (Promise, error) {
	body, err := json.Marshal(p)
	if err == nil {
		body, err = c.exchange(ctx, m, http.MethodPost, pathPromise, body, http.StatusOK)
	}
	var a Promise
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	switch {
	case err != nil:
		return Promise{}, fmt.Errorf("ask %s for a promise: %w", m.Pod, err)
	case a.Format < 1 || a.Format > Format:
		return Promise{}, fmt.Errorf("ask %s for a promise: the answer has format %d", m.Pod, a.Format)
	case a.Me.Member != m.ID:
		// Addresses are given to other pods, and pods of one name to other volumes (SAFETY rule 1).
		return Promise{}, fmt.Errorf("ask %s for a promise: member %s answers there, not %s", m.Pod, a.Me.Member, m.ID)
	}
	return a, nil
}
