// Package lifecycle brings a whole lab up, tells how it is, and takes it down again. All it knows between two commands
// is in a few files, so that any command may be killed at any time and the next one goes on from what is there.
package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/topology"
)

const (
	lockFile = "/run/pgspan-lab.lock"
	// machineGroup is the control group of the lab's programs that belong to no host.
	machineGroup = "machine"
)

// State is what a lab remembers of itself.
type State struct {
	Lab topology.Lab `json:"lab"`
	// Binaries is where the programs it was started with are.
	Binaries string `json:"binaries"`
	// Complete is set once the lab was ready; before that it is the remains of an interrupted start.
	Complete bool `json:"complete"`
}

func stateFile() string  { return filepath.Join(host.Small, "lab.json") }
func daemonFile() string { return filepath.Join(host.Small, "serve.json") }

// DaemonLog is where the lab's background process logs to.
func DaemonLog() string { return filepath.Join(host.Big, "serve.log") }

// Kubeconfig is the file with one context per site.
func Kubeconfig() string { return filepath.Join(host.Small, "kubeconfig") }

// RegistryDir is where pushed images are kept, also while the lab is down.
func RegistryDir() string { return filepath.Join(host.Big, "registry") }

// VolumesDir is where the volumes of all sites are mounted.
func VolumesDir() string { return filepath.Join(host.Big, "volumes") }

// ErrNoLab says that no lab is up.
var ErrNoLab = errors.New("no lab is up: run lab up")

// LoadState reads the state of the lab that is up, or ErrNoLab.
func LoadState() (State, error) {
	var s State
	data, err := os.ReadFile(stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return s, ErrNoLab
	}
	if err != nil {
		return s, fmt.Errorf("read state of the lab: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read state of the lab: %w", err)
	}
	return s, nil
}

func (s State) save() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("save state of the lab: %w", err)
	}
	if err := os.MkdirAll(host.Small, 0o755); err != nil {
		return fmt.Errorf("save state of the lab: %w", err)
	}
	unfinished := stateFile() + ".new"
	if err := os.WriteFile(unfinished, data, 0o644); err != nil {
		return fmt.Errorf("save state of the lab: %w", err)
	}
	if err := os.Rename(unfinished, stateFile()); err != nil {
		return fmt.Errorf("save state of the lab: %w", err)
	}
	return nil
}

// Lock makes the caller the only one to change the lab of this machine, until release is called or the caller ends. It
// waits for a short while when another command is at work, and is refused then.
func Lock(ctx context.Context, patience time.Duration) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	file, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the lab: %w", err)
	}
	for syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		if ctx.Err() == nil {
			time.Sleep(pollEvery)
			continue
		}
		holder := make([]byte, 32)
		n, _ := file.ReadAt(holder, 0)
		_ = file.Close()
		return nil, fmt.Errorf("another lab command (process %s) is at work on this machine, which has room for one lab only: wait for it to end",
			string(holder[:n]))
	}
	_ = file.Truncate(0)
	_, _ = file.WriteAt([]byte(fmt.Sprint(os.Getpid())), 0)
	return func() { _ = file.Close() }, nil
}
