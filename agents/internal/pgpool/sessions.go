package pgpool

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// session is one of pgpool's children, which serves one client at a time.
type session struct {
	pid int
	// title is what pgpool writes over its command line: what the child does.
	title string
}

const titlePrefix = "pgpool: "

// waiting: the child has no client.
func (s session) waiting() bool {
	return s.title == titlePrefix+"wait for connection request" || s.title == titlePrefix+"wait for accept lock"
}

// auxiliary: the child never has a client.
func (s session) auxiliary() bool {
	for _, name := range []string{"PCP: ", "worker process", "health check process"} {
		if strings.HasPrefix(s.title, titlePrefix+name) {
			return true
		}
	}
	return false
}

// busy: ending the child now would cut off a query or a transaction. A title that is not known counts as busy.
func (s session) busy() bool {
	return !s.waiting() && !s.auxiliary() && !strings.HasSuffix(s.title, " idle")
}

func anyBusy(sessions []session) bool {
	for _, s := range sessions {
		if s.busy() {
			return true
		}
	}
	return false
}

// sessionsOf lists the children of pgpool. What ends while it is looked at is left out.
func sessionsOf(pgpool int) []session {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var found []session
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name in brackets may hold blanks and brackets itself; after it come the state and the parent.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(pgpool) || string(fields[0]) == "Z" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if child, ok := sessionIn(pid); ok {
			found = append(found, child)
		}
	}
	return found
}

func sessionIn(pid int) (session, bool) {
	title, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return session{}, false
	}
	return session{pid: pid, title: strings.TrimSpace(string(bytes.ReplaceAll(title, []byte{0}, []byte{' '})))}, true
}

// holdsOld tells whether a process has a file open that was replaced by a rename since.
func holdsOld(pid int, path string) bool {
	fds, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd", "[0-9]*"))
	if err != nil {
		panic(err) // a number makes no bad pattern
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && target == path+" (deleted)" {
			return true
		}
	}
	return false
}
