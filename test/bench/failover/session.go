package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/test/cluster"
	"github.com/pgspan/pgspan/test/writer"
)

// session is the one held open on the primary, from a process on the primary's node.
type session struct {
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// hold starts it. program is the built held, lab the lab's program.
func hold(ctx context.Context, program, lab, node, table string, app cluster.App) (*session, error) {
	dir, err := os.MkdirTemp("", "bench-held-")
	if err != nil {
		return nil, err
	}
	h := &session{dir: dir, done: make(chan struct{})}
	b, err := json.Marshal(map[string]any{"App": app, "Table": table, "Log": h.log(), "Stop": h.stopFile(), "Limit": 20 * time.Minute})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// It has an end of its own; the trial's context would end only the program that has entered the node for it.
	h.cmd = exec.CommandContext(context.WithoutCancel(ctx), lab, "exec", node, "--", program, filepath.Join(dir, "config.json"))
	h.cmd.Stderr = os.Stderr
	if err := h.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("hold a session on %s: %w", node, err), os.RemoveAll(dir))
	}
	go func() {
		defer close(h.done)
		_ = h.cmd.Wait() // when the node loses its power, so does the session
	}()
	return h, nil
}

func (h *session) log() string      { return filepath.Join(h.dir, "log") }
func (h *session) stopFile() string { return filepath.Join(h.dir, "stop") }

// attempts are those in the log by now.
func (h *session) attempts() ([]writer.Attempt, error) {
	f, err := os.Open(h.log())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAttempts(bufio.NewScanner(f))
}

// end stops it and returns all attempts.
func (h *session) end() ([]writer.Attempt, error) {
	defer os.RemoveAll(h.dir)
	if err := os.WriteFile(h.stopFile(), nil, 0o600); err != nil {
		return nil, err
	}
	select {
	case <-h.done:
	case <-time.After(10 * time.Second): // an insert that is never answered
		_ = h.cmd.Process.Kill()
	}
	return h.attempts()
}

// readAttempts reads a log of held. The last line of a process that was killed may be cut off, and is none.
func readAttempts(lines *bufio.Scanner) ([]writer.Attempt, error) {
	var all []writer.Attempt
	for lines.Scan() {
		var l struct {
			ID          int64
			Sent, Acked time.Time
			Server      string
			Warned      bool
			Error       string
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			if !lines.Scan() {
				break
			}
			return nil, fmt.Errorf("read the held session's log: %w", err)
		}
		a := writer.Attempt{ID: l.ID, Sent: l.Sent, Acked: l.Acked, Server: l.Server, Warned: l.Warned}
		if l.Error != "" {
			a.Err = errors.New(l.Error)
		}
		all = append(all, a)
	}
	return all, lines.Err()
}
