package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/volume"
)

func controlSocket() string { return filepath.Join(host.Small, "serve.sock") }

// serveControl answers the lab's commands about volumes: only one process can have them open, and it is the background
// one.
func serveControl(ctx context.Context, store *volume.Store) error {
	_ = os.Remove(controlSocket())
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", controlSocket())
	if err != nil {
		return fmt.Errorf("open control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /volumes", func(w http.ResponseWriter, _ *http.Request) {
		all, err := store.List()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(all)
	})
	mux.HandleFunc("PUT /faults/{volume}", func(w http.ResponseWriter, r *http.Request) {
		var list []fault.Fault
		err := json.NewDecoder(r.Body).Decode(&list)
		if err == nil {
			err = setFaults(r.Context(), store, r.PathValue("volume"), list)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve control socket: %w", err)
	}
	return ctx.Err()
}

// setFaults gives a volume exactly the faults of the list that are its own. A volume that is gone has none.
func setFaults(ctx context.Context, store *volume.Store, name string, list []fault.Fault) error {
	if err := store.Heal(ctx, name); err != nil && !errors.Is(err, volume.ErrNotFound) {
		return err
	}
	for _, f := range list {
		if f.Target != name {
			continue
		}
		var err error
		switch f.Kind {
		case fault.Fill:
			err = store.Fill(ctx, name, f.Percent)
		case fault.Hang:
			err = store.Hang(ctx, name)
		case fault.Slow:
			limit, parseErr := volume.ParseLimit(f.Limit)
			if parseErr != nil {
				return parseErr
			}
			err = store.Slow(ctx, name, limit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// SetVolumeFaults gives a volume exactly the faults of the list that are its own.
func SetVolumeFaults(ctx context.Context, name string, list []fault.Fault) error {
	body, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("describe faults: %w", err)
	}
	_, err = askDaemon(ctx, http.MethodPut, "/faults/"+name, body)
	return err
}

// Volumes lists the volumes of all sites.
func Volumes(ctx context.Context) ([]volume.Volume, error) {
	answer, err := askDaemon(ctx, http.MethodGet, "/volumes", nil)
	if err != nil {
		return nil, err
	}
	var all []volume.Volume
	if err := json.Unmarshal(answer, &all); err != nil {
		return nil, fmt.Errorf("read volumes: %w", err)
	}
	return all, nil
}

// askDaemon asks the background process, starting it first when it has died.
func askDaemon(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	if err := startDaemon(ctx); err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", controlSocket())
		}}}
	request, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask background process: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask background process: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("ask background process: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(answer)))
	}
	return answer, nil
}
