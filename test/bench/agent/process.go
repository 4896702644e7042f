package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// agent is one process that is measured.
type agent struct {
	name string // keeper, guard, floor
	pod  string // its role
	pid  int
}

// usage is what a process has used up to a moment.
type usage struct {
	at                    time.Time
	rss, anon, file, peak float64 // MiB
	cpu                   time.Duration
}

// tick is the unit of processor time in /proc, the same on every Linux of today (USER_HZ).
const tick = 10 * time.Millisecond

// read asks the kernel about a process.
func read(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	u, err := parse(stat, status)
	u.at = time.Now()
	return u, err
}

func parse(stat, status []byte) (usage, error) {
	// pid (name) state ppid …; the name may hold spaces and brackets. utime and stime are the 14th and 15th field.
	_, rest, found := bytes.Cut(stat, []byte(") "))
	if i := bytes.LastIndex(stat, []byte(") ")); i >= 0 {
		rest = stat[i+2:]
	}
	fields := strings.Fields(string(rest))
	if !found || len(fields) < 13 {
		return usage{}, fmt.Errorf("stat of the process is not understood")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return usage{}, fmt.Errorf("processor time of the process is not understood")
	}
	u := usage{cpu: time.Duration(user+system) * tick}
	for name, into := range map[string]*float64{"VmRSS": &u.rss, "RssAnon": &u.anon, "RssFile": &u.file, "VmHWM": &u.peak} {
		kb, ok := kilobytes(status, name)
		if !ok {
			return usage{}, fmt.Errorf("the kernel does not tell %s: the process is about to end", name)
		}
		*into = kb / 1024
	}
	return u, nil
}

func kilobytes(status []byte, name string) (float64, bool) {
	for line := range strings.Lines(string(status)) {
		if k, v, ok := strings.Cut(line, ":"); ok && k == name {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 64)
			return n, err == nil
		}
	}
	return 0, false
}

// find looks for a program of a pod on this machine. The agents know their pod from their environment.
func find(program, podUID string) (int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, path := range names {
		name, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(name)) != program {
			continue // ended meanwhile, or another program
		}
		env, err := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if err != nil {
			continue
		}
		if bytes.Contains(append([]byte{0}, env...), []byte("\x00PGSPAN_POD_UID="+podUID+"\x00")) {
			return strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
	}
	return 0, fmt.Errorf("no %s of pod %s runs on this machine: bench-agent measures pods of the lab, as root", program, podUID)
}
