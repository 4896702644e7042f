package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process names one process for good: a number alone is given to another process sooner or later.
type Process struct {
	PID int `json:"pid"`
	// Started is the process's start in clock ticks since boot.
	Started uint64 `json:"started"`
}

// Identify reads a running process's identity.
func Identify(pid int) (Process, error) {
	started, _, err := readStat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return Process{PID: pid, Started: started}, nil
}

// Alive says whether this very process still runs. One that only waits to be collected does not.
func (p Process) Alive() bool {
	started, state, err := readStat(p.PID)
	return err == nil && started == p.Started && state != "Z" && state != "X"
}

// Save remembers the process in a file.
func (p Process) Save(file string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("remember process: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("remember process: %w", err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("remember process: %w", err)
	}
	return nil
}

// LoadProcess reads a remembered process; none is remembered when the file is missing.
func LoadProcess(file string) (Process, bool, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Process{}, false, nil
	}
	if err != nil {
		return Process{}, false, fmt.Errorf("find process: %w", err)
	}
	var p Process
	if err := json.Unmarshal(data, &p); err != nil {
		return Process{}, false, fmt.Errorf("find process in %s: %w", file, err)
	}
	return p, true, nil
}

// readStat returns a process's start and state. The command's name may hold blanks and brackets, so fields count from
// the last bracket.
func readStat(pid int) (started uint64, state string, err error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, "", err
	}
	return parseStat(string(data))
}

func parseStat(stat string) (started uint64, state string, err error) {
	_, after, found := cutLast(stat, ") ")
	fields := strings.Fields(after)
	if !found || len(fields) < 20 {
		return 0, "", fmt.Errorf("process state has another form: %q", stat)
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("process start: %w", err)
	}
	return started, fields[0], nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
