package results

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// Machine is where something was measured.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int    `json:"memoryMiB"`
	Kernel string `json:"kernel"`
}

// code is where a result comes from. What a run adds to the documentation, committed, does not make the next one another run.
var code = []string{":/agents", ":/charts", ":/test", ":/tls", ":/images"}

// Here returns the setting of a run on this machine, from the working tree that the caller is in: the last commit that touched code. One that
// ends with + has changes on it that are not committed: such a result cannot be traced.
func Here(ctx context.Context, parameters map[string]string) (Setting, error) {
	commit, err := exec.CommandContext(ctx, "git", append([]string{"log", "-1", "--format=%h", "--abbrev=12", "--"}, code...)...).Output()
	if err != nil {
		return Setting{}, fmt.Errorf("find the commit: %w", err)
	}
	changed, err := exec.CommandContext(ctx, "git", append([]string{"status", "--porcelain", "--untracked-files=no", "--"}, code...)...).Output()
	if err != nil {
		return Setting{}, fmt.Errorf("find what is not committed: %w", err)
	}
	name := strings.TrimSpace(string(commit))
	if len(changed) > 0 {
		name += "+"
	}
	return Setting{Commit: name, Machine: machine(), Parameters: parameters}, nil
}

// machine says "unknown" and 0 for what the kernel does not tell.
func machine() Machine {
	m := Machine{CPU: "unknown", Cores: runtime.NumCPU(), Kernel: "unknown"}
	if cpu := field("/proc/cpuinfo", "model name"); cpu != "" {
		m.CPU = cpu
	}
	if kb, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		m.Memory = kb / 1024
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	return m
}

// String is the machine in a line.
func (m Machine) String() string {
	return fmt.Sprintf("%d × %s, %d MiB, Linux %s", m.Cores, m.CPU, m.Memory, m.Kernel)
}

// field is the value of the first line "name : value" of a file.
func field(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for text := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(text, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Load is the machine's load average over the last minute; -1 where the kernel does not tell.
func Load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(b), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return -1
	}
	return v
}
