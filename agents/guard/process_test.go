package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is one in the container, by its id on the machine.
type process struct {
	pid   int
	name  string
	state string // R, S, D, T, Z …
	ppid  int
}

// processes lists everything in the container but guard.
func (p *pod) processes() []process {
	home, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.proc.PID))
	if err != nil {
		return nil // the container is gone
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		p.t.Fatal(err)
	}
	var found []process
	for _, path := range stats {
		if ns, err := os.Readlink(filepath.Join(filepath.Dir(path), "ns/pid")); err != nil || ns != home {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		s := string(b)
		open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
		pid, _ := strconv.Atoi(strings.TrimSpace(s[:open]))
		rest := strings.Fields(s[end+1:])
		ppid, _ := strconv.Atoi(rest[1])
		if pid != p.proc.PID {
			found = append(found, process{pid, s[open+1 : end], rest[0], ppid})
		}
	}
	return found
}

// servers are the living PostgreSQL processes of the container.
func (p *pod) servers() []process {
	var found []process
	for _, proc := range p.processes() {
		if proc.name == "postgres" && proc.state != "Z" {
			found = append(found, proc)
		}
	}
	return found
}

// postmaster is the server's first process, by its id on the machine; 0 when none runs. Orphaned backends are children of guard too, but
// they call themselves "postgres: …".
func (p *pod) postmaster() int {
	for _, proc := range p.servers() {
		if proc.ppid != p.proc.PID {
			continue
		}
		if title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", proc.pid)); err == nil && len(title) > 0 && !strings.HasPrefix(string(title), "postgres:") {
			return proc.pid
		}
	}
	return 0
}

// titled finds the server process with a word in its title, such as "checkpointer".
func (p *pod) titled(word string) int {
	p.t.Helper()
	for _, proc := range p.servers() {
		if title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", proc.pid)); err == nil && strings.Contains(string(title), word) {
			return proc.pid
		}
	}
	p.t.Fatalf("no server process is called %q", word)
	return 0
}

// holds reports whether a process has a file open.
func holds(pid int, path string) bool {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		return true // it has ended
	}
	want, err := os.Stat(path)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if got, err := os.Stat(fd); err == nil && os.SameFile(got, want) {
			return true
		}
	}
	return false
}
