package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	firstPause = 300 * time.Millisecond
	longPause  = 5 * time.Second
	// healthyAfter is how long a program must have run for its next end to count as a first one.
	healthyAfter = 20 * time.Second
)

// supervisor keeps the host's programs running and collects the children of those that died.
type supervisor struct {
	log   *slog.Logger
	units []*unit
	// logFile names the file a unit's output goes to.
	logFile func(unit string) string

	// starting keeps the collector from asking who a child was before the one that started it has written it down.
	starting sync.Mutex
	exits    map[int]chan unix.WaitStatus
}

// unit is one program and whether it is wanted.
type unit struct {
	Unit
	mu      sync.Mutex
	wanted  bool
	changed chan struct{}
	pid     int
	starts  int
}

func newSupervisor(units []Unit, logFile func(unit string) string, log *slog.Logger) *supervisor {
	s := &supervisor{log: log, logFile: logFile, exits: map[int]chan unix.WaitStatus{}}
	for _, u := range units {
		s.units = append(s.units, &unit{Unit: u, wanted: true, changed: make(chan struct{}, 1)})
	}
	return s
}

// reap collects every child that ends: programs of ours, and orphans that the kernel hands to a first process.
func (s *supervisor) reap(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)
	// Signals that come while one is pending are merged, hence the loop inside and the tick beside.
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		for s.reapOne() {
		}
		select {
		case <-signals:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (s *supervisor) reapOne() bool {
	s.starting.Lock()
	defer s.starting.Unlock()
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if err != nil || pid <= 0 {
		return false
	}
	if exit, ours := s.exits[pid]; ours {
		delete(s.exits, pid)
		exit <- status
	}
	return true
}

// start runs the unit's program once.
func (s *supervisor) start(u *unit) (pid int, exit <-chan unix.WaitStatus, err error) {
	log, err := os.OpenFile(s.logFile(u.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, nil, fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = log.Close() }()
	s.starting.Lock()
	defer s.starting.Unlock()
	process, err := os.StartProcess(u.Command[0], u.Command, &os.ProcAttr{
		Env: append(os.Environ(), u.Env...), Files: []*os.File{nil, log, log}})
	if err != nil {
		return 0, nil, fmt.Errorf("start program: %w", err)
	}
	ended := make(chan unix.WaitStatus, 1)
	s.exits[process.Pid] = ended
	pid = process.Pid
	// The collector waits for all children; the handle would only wait a second time.
	_ = process.Release()
	return pid, ended, nil
}

// run keeps one unit running for as long as it is wanted.
func (s *supervisor) run(ctx context.Context, u *unit) {
	pause := firstPause
	for ctx.Err() == nil {
		if !u.isWanted() {
			select {
			case <-u.changed:
			case <-ctx.Done():
			}
			continue
		}
		if err := waitFor(ctx, u.Unit); err != nil {
			return
		}
		began := time.Now()
		pid, exit, err := s.start(u)
		if err != nil {
			s.log.Error("program does not start", "unit", u.Name, "error", err)
		} else {
			u.setPID(pid)
			status := s.await(u, pid, exit)
			u.setPID(0)
			s.log.Info("program ended", "unit", u.Name, "exit", status.ExitStatus(), "signal", int(status.Signal()))
		}
		if time.Since(began) > healthyAfter {
			pause = firstPause
		}
		if u.isWanted() {
			time.Sleep(pause)
			pause = min(2*pause, longPause)
		}
	}
}

// await waits for the program's end, and kills it when it is not wanted any more.
func (s *supervisor) await(u *unit, pid int, exit <-chan unix.WaitStatus) unix.WaitStatus {
	for {
		select {
		case status := <-exit:
			return status
		case <-u.changed:
			if !u.isWanted() {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}

func (u *unit) isWanted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.wanted
}

func (u *unit) want(wanted bool) {
	u.mu.Lock()
	u.wanted = wanted
	u.mu.Unlock()
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

func (u *unit) setPID(pid int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pid = pid
	if pid != 0 {
		u.starts++
	}
}

// waitFor returns when what the unit depends on answers.
func waitFor(ctx context.Context, u Unit) error {
	if u.WaitFor == "" {
		return nil
	}
	for {
		if answers(ctx, u) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func answers(ctx context.Context, u Unit) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if !strings.HasPrefix(u.WaitFor, "https://") {
		network, address, _ := strings.Cut(u.WaitFor, ":")
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(u.WaitCA)
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		return false
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.WaitFor, nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// find returns the unit of a name.
func (s *supervisor) find(name string) *unit {
	i := slices.IndexFunc(s.units, func(u *unit) bool { return u.Name == name })
	if i < 0 {
		return nil
	}
	return s.units[i]
}
