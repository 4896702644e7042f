// Package host runs the machines of the lab. A host is a set of namespaces (processes, mounts, network, clocks) whose
// first process is this program again: it mounts the host's own folders, keeps the host's programs running, and when
// it dies everything in the host dies with it, at once, as when the power goes.
package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Where the lab keeps its state. The small one is for what must be found fast and looked at often; the big one holds
// images, databases and logs.
const (
	Small = "/run/pgspan-lab"
	Big   = "/var/lib/pgspan-lab"
)

// Directory is where a host keeps its files.
func Directory(name string) string { return filepath.Join(Big, "hosts", name) }

// Spec is everything a host's first process has to know.
type Spec struct {
	Name string `json:"name"`
	// Uptime is what the host's boot clock shows at its start, so that no two hosts' clocks agree.
	Uptime time.Duration `json:"uptime"`
	// Shares is the host's weight on the CPU.
	Shares int `json:"shares"`
	// Binds are folders of the host's own that stand in for the machine's.
	Binds []Bind `json:"binds"`
	// Memory lists folders that are empty after each start.
	Memory []string `json:"memory"`
	Units  []Unit   `json:"units"`
}

// Bind shows Source at Target inside the host.
type Bind struct {
	Source string `json:"source"`
	Target string `json:"target"`
	// Shared lets mounts made below it in a container be seen by the host and the other way round.
	Shared bool `json:"shared"`
}

// Unit is a program that is kept running.
type Unit struct {
	Name    string   `json:"name"`
	Command []string `json:"command"`
	Env     []string `json:"env,omitempty"`
	// WaitFor holds the start back until unix:PATH or tcp:ADDRESS accepts a connection, or an https URL, checked by
	// WaitCA, answers 200.
	WaitFor string `json:"waitFor,omitempty"`
	WaitCA  string `json:"waitCA,omitempty"`
}

func stateDir(name string) string    { return filepath.Join(Small, "hosts", name) }
func specFile(name string) string    { return filepath.Join(stateDir(name), "spec.json") }
func processFile(name string) string { return filepath.Join(stateDir(name), "process.json") }
func socketFile(name string) string  { return filepath.Join(stateDir(name), "control.sock") }

// LogFile is where a unit's output goes.
func LogFile(name, unit string) string {
	return filepath.Join(Directory(name), "log", unit+".log")
}

func (s Spec) save() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode host %s: %w", s.Name, err)
	}
	for _, dir := range []string{stateDir(s.Name), filepath.Join(Directory(s.Name), "log")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("save host %s: %w", s.Name, err)
		}
	}
	if err := os.WriteFile(specFile(s.Name), data, 0o600); err != nil {
		return fmt.Errorf("save host %s: %w", s.Name, err)
	}
	return nil
}

// Load reads what a host was last started with.
func Load(name string) (Spec, error) {
	var s Spec
	data, err := os.ReadFile(specFile(name))
	if err != nil {
		return s, fmt.Errorf("load host: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("load host %s: %w", name, err)
	}
	return s, nil
}
