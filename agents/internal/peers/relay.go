package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/pgspan/pgspan/agents/internal/record"
)

const pathRelay = "/v1/relay"

// recordLimit bounds a request, or an answer, that holds a record. Its list of timelines grows with each change of leaders, by some forty bytes, and
// an annotation of a Lease can be 256 KiB.
const recordLimit = 512 << 10

// Last is the last version of a leader's record, which it cannot write itself: the store does not answer it, or takes it for nobody any more, as
// with the token of a pod that was deleted by force.
type Last struct {
	Format int `json:"format"`
	// Version is what the store made of the version that is to be replaced, in the store's own words.
	Version string        `json:"version"`
	Record  record.Record `json:"record"`
}

func (l Last) validate() error {
	if err := understood("the request", l.Format); err != nil {
		return err
	}
	switch {
	case l.Version == "":
		return errors.New("the request does not say which version is to be replaced")
	case nobody(l.Record.Holder):
		return errors.New("the record of the request has no holder")
	case !l.Record.Free():
		return errors.New("the record of the request is not given back")
	}
	return nil
}

// written is the answer.
type written struct {
	Version string `json:"version"`
}

// relay writes for a leader that cannot.
func (s *Server) relay(w http.ResponseWriter, r *http.Request) {
	var l Last
	err := readUpTo(recordLimit, w, r, &l)
	if err == nil {
		err = l.validate()
	}
	if err == nil && s.o.Relay == nil {
		err = errors.New("this keeper writes for nobody")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	made, err := s.o.Relay(r.Context(), l.Version, l.Record)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	reply(w, written{Version: made})
}

// Relay asks all members but the holder of r to write it in place of version, until one of them has. That several try does no harm: the store takes one.
func (c *Client) Relay(ctx context.Context, members []record.Member, version string, r record.Record) (made string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := json.Marshal(Last{Format: Format, Version: version, Record: r})
	if err != nil {
		return "", fmt.Errorf("have the record written: %w", err)
	}
	type answer struct {
		made string
		err  error
	}
	answers := make(chan answer, len(members))
	asked := 0
	for _, m := range members {
		if m.ID == r.Holder.Member {
			continue
		}
		asked++
		go func() {
			text, err := c.exchange(ctx, m, http.MethodPost, pathRelay, body, http.StatusOK)
			var w written
			if err == nil {
				err = json.Unmarshal(text, &w)
			}
			if err != nil {
				err = fmt.Errorf("have the record written by %s: %w", m.Pod, err)
			}
			answers <- answer{w.Version, err}
		}()
	}
	err = errors.New("have the record written: there is no other member")
	for i := range asked {
		a := <-answers
		switch {
		case a.err == nil:
			return a.made, nil
		case i == 0:
			err = a.err
		default:
			err = errors.Join(err, a.err)
		}
	}
	return "", err
}
