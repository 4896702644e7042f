// Package health answers over HTTP what load balancers, kubelet and people ask of a member. It is read-only and tells nothing secret.
//
//	/livez            keeper itself is alive: never depends on the API, the server or the lag
//	/readyz           the member can serve its role
//	/primary          200 on the member that may be written to, 503 elsewhere
//	/replica          200 on a standby whose lag is known; ?lag=10MB or ?lag=5s: and is no larger
//	/metrics          Prometheus
package health

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/observed"
)

// Handler answers from what look returns. alive reports why keeper itself is stuck, nil if it is not.
func Handler(look func() observed.Snapshot, alive func() error, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, judge func(*http.Request, observed.Snapshot) error) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			if err := judge(r, look()); err != nil {
				code := http.StatusServiceUnavailable
				if bad := badRequest(""); errors.As(err, &bad) {
					code = http.StatusBadRequest
				}
				w.WriteHeader(code)
				fmt.Fprintln(w, err)
				return
			}
			fmt.Fprintln(w, "ok")
		})
	}
	answer("/livez", func(*http.Request, observed.Snapshot) error { return alive() })
	answer("/readyz", func(_ *http.Request, s observed.Snapshot) error { return Ready(s) })
	answer("/primary", func(_ *http.Request, s observed.Snapshot) error { return Primary(s) })
	answer("/replica", func(r *http.Request, s observed.Snapshot) error { return Replica(s, r.URL.Query().Get("lag")) })
	mux.Handle("GET /metrics", metrics)
	return mux
}

// badRequest is an error of whoever asked.
type badRequest string

func (b badRequest) Error() string { return string(b) }

// Ready reports why the member cannot serve its role; nil if it can.
func Ready(s observed.Snapshot) error {
	switch s.Role() {
	case observed.Primary:
		return nil
	case observed.Replica:
		if s.Leader && s.Granted {
			return fmt.Errorf("this member is being promoted")
		}
		// A replica that is cut off serves reads: nobody may be left who could (SAFETY D43). But where its leader is there and has nothing for it,
		// others have newer data, and what it serves grows old without end.
		if s.Refused != "" {
			return fmt.Errorf("the primary sends this replica nothing: %s", s.Refused)
		}
		return nil
	default:
		return notServing(s)
	}
}

// Primary reports why the member is not the one to write to.
func Primary(s observed.Snapshot) error {
	switch s.Role() {
	case observed.Primary:
		return nil
	case observed.Replica:
		return fmt.Errorf("this member is a replica")
	default:
		return notServing(s)
	}
}

// Replica reports why the member is no replica within the limit: a size (bytes, kB, MB, GB) or a time (Go's form).
func Replica(s observed.Snapshot, limit string) error {
	bytes, seconds, err := parseLimit(limit)
	if err != nil {
		return err
	}
	switch s.Role() {
	case observed.Primary:
		return fmt.Errorf("this member is the primary")
	case observed.Unknown:
		return notServing(s)
	}
	lag := s.Lag
	switch {
	case seconds != nil && lag.Seconds == nil:
		return fmt.Errorf("the lag in seconds is unknown (link up: %v)", lag.LinkUp)
	case seconds != nil && *lag.Seconds > *seconds:
		return fmt.Errorf("the lag is %.1f s", *lag.Seconds)
	case seconds == nil && lag.Bytes == nil:
		return fmt.Errorf("the lag in bytes is unknown (link up: %v)", lag.LinkUp)
	case bytes != nil && *lag.Bytes > *bytes:
		return fmt.Errorf("the lag is %d bytes", *lag.Bytes)
	}
	return nil
}

func notServing(s observed.Snapshot) error {
	switch {
	case s.Server != nil:
		return fmt.Errorf("the server is writable without the right to be: %s", s.Reason)
	case s.Phase == "":
		return fmt.Errorf("no server yet: %s", s.Reason)
	default:
		return fmt.Errorf("the server does not answer (%s): %s", s.Phase, s.Reason)
	}
}

// units are PostgreSQL's, powers of 1024.
var units = []struct {
	suffix string
	bytes  int64
}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}}

func parseLimit(text string) (bytes *int64, seconds *float64, err error) {
	if text == "" {
		return nil, nil, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return &n, nil, nil
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(number, 10, 32); err == nil && n >= 0 {
			n *= u.bytes
			return &n, nil, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		s := d.Seconds()
		return nil, &s, nil
	}
	return nil, nil, badRequest(fmt.Sprintf("lag=%s is neither a size (10MB) nor a time (5s)", text))
}
