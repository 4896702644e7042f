package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"
)

// UnitStatus is what a host says about one of its programs.
type UnitStatus struct {
	Name   string `json:"name"`
	Wanted bool   `json:"wanted"`
	// PID is the program's number inside the host, 0 when it does not run.
	PID    int `json:"pid"`
	Starts int `json:"starts"`
}

// listenControl opens the host's control socket: a file, so that it can be reached from outside the host's network.
func listenControl(ctx context.Context, name string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socketFile(name))
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return listener, nil
}

func (s *supervisor) serve(listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /units", func(w http.ResponseWriter, _ *http.Request) {
		var all []UnitStatus
		for _, u := range s.units {
			u.mu.Lock()
			all = append(all, UnitStatus{Name: u.Name, Wanted: u.wanted, PID: u.pid, Starts: u.starts})
			u.mu.Unlock()
		}
		_ = json.NewEncoder(w).Encode(all)
	})
	want := func(wanted bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			u := s.find(r.PathValue("name"))
			if u == nil {
				http.Error(w, "no such unit", http.StatusNotFound)
				return
			}
			u.want(wanted)
		}
	}
	mux.HandleFunc("POST /units/{name}/stop", want(false))
	mux.HandleFunc("POST /units/{name}/start", want(true))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return fmt.Errorf("serve control socket: %w", server.Serve(listener))
}

// Units asks a host about its programs.
func Units(ctx context.Context, name string) ([]UnitStatus, error) {
	var all []UnitStatus
	response, err := ask(ctx, name, http.MethodGet, "/units")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("read units of %s: %w", name, err)
	}
	return all, nil
}

// StopUnit kills a program, keeps it from being started again, and returns when it is gone.
func StopUnit(ctx context.Context, name, unit string) error {
	if err := tell(ctx, name, "/units/"+unit+"/stop"); err != nil {
		return err
	}
	for {
		all, err := Units(ctx, name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(u UnitStatus) bool { return u.Name == unit && u.PID != 0 }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop %s on %s: %w", unit, name, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// StartUnit lets a stopped program run again.
func StartUnit(ctx context.Context, name, unit string) error {
	return tell(ctx, name, "/units/"+unit+"/start")
}

func tell(ctx context.Context, name, path string) error {
	response, err := ask(ctx, name, http.MethodPost, path)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func ask(ctx context.Context, name, method, path string) (*http.Response, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socketFile(name))
		}}}
	request, err := http.NewRequestWithContext(ctx, method, "http://host"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask host %s: %w", name, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask host %s: %w", name, err)
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("ask host %s for %s: %s", name, path, response.Status)
	}
	return response, nil
}
