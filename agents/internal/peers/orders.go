package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	pathStatus = "/v1/status"
	// StatusLimit is what a status may take, OrderLimit an order with its way to the leader: the server's own limit is a little more.
	StatusLimit = time.Second
	OrderLimit  = 1900 * time.Millisecond
)

// ErrUnknown says that a keeper was reached that does not know what it was asked for: it is of another release.
var ErrUnknown = errors.New("it does not know what it was asked for")

// Verb is what a person asks of a site.
type Verb string

const (
	// Switchover: another member is to lead.
	Switchover Verb = "switchover"
	// Pause suspends elections and switchovers for a while, Resume ends that.
	Pause  Verb = "pause"
	Resume Verb = "resume"
	// Fence keeps a member stopped, Unfence lifts that.
	Fence   Verb = "fence"
	Unfence Verb = "unfence"
	// Rollout brings all pods to their sets' newest revision, and all servers to settings that wait for a restart.
	Rollout Verb = "rollout"
)

// Verbs are all of them. POST /v1/<verb> takes an Order and answers with a Receipt.
func Verbs() []Verb { return []Verb{Switchover, Pause, Resume, Fence, Unfence, Rollout} }

// Order is a request to the leader. Any keeper takes it and passes it on.
type Order struct {
	Format int `json:"format"`
	// ID names the request: the same one again is reported on, not done again.
	ID string `json:"id"`
	// Epoch is the reign that it is made for; zero: the present one.
	Epoch epoch.Epoch `json:"epoch,omitzero"`
	// Pod is the member concerned: who is to lead (empty: the best), or whom to fence.
	Pod string `json:"pod,omitempty"`
	// From makes a switchover one away from that pod: nothing is to be done if it does not lead.
	From string `json:"from,omitempty"`
	// For is how long an intent may wait, a pause lasts, or a rollout may stand still.
	For record.Duration `json:"for,omitempty"`
	// Soak is how long a rollout watches the first replaced pod, Settings names the chart's settings that all members are to have afterwards;
	// empty: those of the leader.
	Soak     record.Duration `json:"soak,omitempty"`
	Settings string          `json:"settings,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	// DryRun only says what would be done.
	DryRun bool `json:"dryRun,omitempty"`
	// Forwarded: a keeper passes it on. It goes no further.
	Forwarded bool `json:"forwarded,omitempty"`
}

// Validate reports an order that cannot be understood.
func (o Order) Validate() error {
	if err := understood("the order", o.Format); err != nil {
		return err
	}
	switch {
	case o.ID == "" || len(o.ID) > 100:
		return errors.New("the order has no id, or one of more than 100 characters")
	case len(o.Reason) > 500 || len(o.Pod) > 253 || len(o.From) > 253:
		return errors.New("the order's reason or pod name is too long")
	case len(o.Settings) > 100:
		return errors.New("the order's settings have a name of more than 100 characters")
	case o.For < 0 || o.Soak < 0:
		return errors.New("the order's time is negative")
	}
	return nil
}

// State is what has become of an order.
type State string

const (
	// Accepted: it stands in the record, and the leader will act on it.
	Accepted State = "accepted"
	// Done: what was wanted is so.
	Done State = "done"
	// Refused: it is not done and will not be.
	Refused State = "refused"
	// Would is the answer to a dry run.
	Would State = "would"
	// Unavailable: it is not known to be in the record. The same order may be given again.
	Unavailable State = "unavailable"
)

// Receipt is the answer to an order.
type Receipt struct {
	Format int    `json:"format"`
	State  State  `json:"state"`
	Reason string `json:"reason"`
	// Leader is the pod that answered as the leader; empty: none did.
	Leader string `json:"leader,omitempty"`
}

// Validate reports an answer that no keeper of ours gives.
func (r Receipt) Validate() error {
	if r.Format < 1 || r.Format > Format || r.State == "" {
		return fmt.Errorf("the answer has format %d and the state %q", r.Format, r.State)
	}
	return nil
}

// Status is what one keeper knows of its member and of the site, for people.
type Status struct {
	Format int               `json:"format"`
	Me     grant.Incarnation `json:"me"`
	Pod    string            `json:"pod"`
	// Role is what its server is, with the right to be it: primary, replica, or empty when neither is known.
	Role string `json:"role,omitempty"`
	// Leads: it holds the record in force. Published is the epoch for which it has seen the Service for writing lead to it.
	Leads     bool        `json:"leads"`
	Published epoch.Epoch `json:"published,omitzero"`
	// Phase and Server are guard's words; empty: not heard.
	Phase  grant.Phase  `json:"phase,omitempty"`
	Server grant.Server `json:"server,omitempty"`
	// Timeline is the server's; Streaming and Lag tell how it follows. An unknown lag is none.
	Timeline   uint32   `json:"timeline,omitempty"`
	Streaming  bool     `json:"streaming"`
	LagBytes   *int64   `json:"lagBytes,omitempty"`
	LagSeconds *float64 `json:"lagSeconds,omitempty"`
	// Settings names the chart's settings that the server's configuration was last rendered from, Run its present run. Pending are settings that
	// wait for a restart, Raised those that are higher than asked for, because the leader has as much.
	Settings string   `json:"settings,omitempty"`
	Run      string   `json:"run,omitempty"`
	Pending  []string `json:"pendingRestart,omitempty"`
	// Unusable are settings that the server cannot take.
	Unusable []string `json:"unusableSettings,omitempty"`
	Raised   []string `json:"raised,omitempty"`
	// Paused: replay is paused.
	Paused bool `json:"replayPaused,omitempty"`
	// Rollout is what this keeper, if it leads, last said of the rollout under way.
	Rollout string `json:"rollout,omitempty"`
	// Reason is the keeper's last verdict in a sentence; Person: nothing goes on until a person acts.
	Reason string `json:"reason,omitempty"`
	Person bool   `json:"person,omitempty"`
	// Alarms are what the leader's second line of defence has found: two members that write, a Service that takes no writes.
	Alarms []string `json:"alarms,omitempty"`
	// Known says what is known of the record: present, absent, broken or unreachable. Record is nil unless it is present.
	Known  string         `json:"known"`
	Record *record.Record `json:"record,omitempty"`
	// PauseLeft is how long elections and switchovers are still suspended, as this keeper counts.
	PauseLeft record.Duration `json:"pauseLeft,omitempty"`
}

// Validate reports an answer that no keeper of ours gives.
func (s Status) Validate() error {
	if s.Format < 1 || s.Format > Format || s.Pod == "" {
		return fmt.Errorf("the answer has format %d and is of pod %q", s.Format, s.Pod)
	}
	return nil
}

// takeOrders adds what people ask to what keepers ask.
func (s *Server) takeOrders(mux *http.ServeMux) {
	if s.o.Status != nil {
		mux.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, _ *http.Request) {
			status := s.o.Status()
			status.Format = Format
			reply(w, status)
		})
	}
	if s.o.Order == nil {
		return
	}
	for _, verb := range Verbs() {
		mux.HandleFunc("POST /v1/"+string(verb), func(w http.ResponseWriter, r *http.Request) {
			var o Order
			err := read(w, r, &o)
			if err == nil {
				err = o.Validate()
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			// Shorter than the server's limit, so that there is always an answer.
			ctx, cancel := context.WithTimeout(r.Context(), OrderLimit-100*time.Millisecond)
			defer cancel()
			receipt := s.o.Order(ctx, verb, o)
			receipt.Format = Format
			reply(w, receipt)
		})
	}
}

// Order gives an order to a member's keeper.
func (c *Client) Order(ctx context.Context, m record.Member, verb Verb, o Order) (Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, OrderLimit)
	defer cancel()
	o.Format = Format
	var r Receipt
	body, err := json.Marshal(o)
	if err == nil {
		body, err = c.exchange(ctx, m, http.MethodPost, "/v1/"+string(verb), body, http.StatusOK)
	}
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("ask %s for a %s: %w", m.Pod, verb, err)
	}
	return r, nil
}

// Status asks a member's keeper what it knows.
func (c *Client) Status(ctx context.Context, m record.Member) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, StatusLimit)
	defer cancel()
	var s Status
	body, err := c.exchange(ctx, m, http.MethodGet, pathStatus, nil, http.StatusOK)
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err == nil {
		err = s.Validate()
	}
	if err != nil {
		return Status{}, fmt.Errorf("ask %s for its status: %w", m.Pod, err)
	}
	return s, nil
}
