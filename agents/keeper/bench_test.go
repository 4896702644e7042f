package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

var (
	benchRounds  = flag.Int("pgbench-rounds", 12, "how often BenchmarkAgents measures either arm")
	benchSeconds = flag.Int("pgbench-seconds", 15, "how long each measurement of BenchmarkAgents is")
	benchDone    = flag.String("pgbench-done", "", "measurements that were made before and are left out: round/arm, with commas between")
	benchReport  = flag.String("pgbench-report", "", "file to which each measurement is written as a line of JSON")
)

// BenchmarkAgents measures pgbench on a server that keeper and guard look after, and on the same server without them: the same data, command
// line and configuration files, the API server running beside both, in turns. `make bench-pgbench` runs it and keeps what it measures in
// docs/bench (test/bench/pgbench).
func BenchmarkAgents(b *testing.B) {
	for b.Loop() {
		benchAgents(b)
	}
}

func benchAgents(b *testing.B) {
	s := newSite(b, 17)
	m := s.member(release+"-primary-0", "primary")
	m.create()
	m.waitStatus("/primary", 200)
	if out, err := m.root.Run(m.pgbench("-i", "-q", "-s", "10")); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	p := m.without(b)
	arms := map[string]func() float64{
		"agents": func() float64 {
			m.create()
			m.waitStatus("/primary", 200)
			defer m.remove()
			return m.tps(b)
		},
		"plain": func() float64 {
			p.start(b)
			defer p.stop(b)
			return p.tps(b)
		},
	}
	done := strings.Split(*benchDone, ",")
	for round := 1; round <= *benchRounds; round++ {
		order := []string{"plain", "agents"}
		if round%2 == 0 {
			slices.Reverse(order)
		}
		for _, arm := range order {
			if slices.Contains(done, fmt.Sprintf("%d/%s", round, arm)) {
				continue
			}
			syscall.Sync()
			report(b, round, arm, arms[arm]())
		}
	}
}

func report(b *testing.B, round int, arm string, tps float64) {
	line, err := json.Marshal(map[string]any{"round": round, "arm": arm, "tps": tps})
	if err != nil {
		b.Fatal(err)
	}
	if *benchReport == "" {
		b.Logf("%s", line)
		return
	}
	f, err := os.OpenFile(*benchReport, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		b.Fatal(err)
	}
}

// bare is a server without agents. It has a member's methods as far as they only speak to the server.
type bare struct {
	*member
	args []string
	proc *pgtest.Process
}

// without makes a copy of the member's database, and of how its server is started. It ends the pod.
func (m *member) without(b *testing.B) *bare {
	b.Helper()
	p := &bare{member: &member{site: m.site, pod: "plain", volume: m.root.TempDir(b), dir: m.root.TempDir(b), port: m.port}}
	moved := strings.NewReplacer(m.dir+"/", p.dir+"/", m.volume+"/", p.volume+"/")
	children := m.guard.Children()
	i := slices.IndexFunc(children, func(c pgtest.Child) bool { return c.Name == "postgres" })
	if i < 0 {
		b.Fatalf("guard has no server: %v", children)
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", children[i].PID))
	if err != nil {
		b.Fatal(err)
	}
	for _, arg := range bytes.Split(bytes.TrimSuffix(line, []byte{0}), []byte{0})[1:] {
		p.args = append(p.args, moved.Replace(string(arg)))
	}
	for _, dir := range []string{"conf", "keys", "socket"} {
		p.copy(b, m.at(dir), p.at(dir))
	}
	files, err := filepath.Glob(m.root.Outside(p.at("conf/*")))
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(moved.Replace(string(text))), 0o600); err != nil { // the file is there, so its owner and mode stay
			b.Fatal(err)
		}
	}
	m.remove()
	p.copy(b, m.volume+"/pgdata", p.volume+"/pgdata")
	return p
}

func (p *bare) copy(b *testing.B, from, to string) {
	b.Helper()
	if out, err := exec.CommandContext(b.Context(), "cp", "--archive", "--no-target-directory", p.root.Outside(from), p.root.Outside(to)).CombinedOutput(); err != nil {
		b.Fatalf("copy %s: %v: %s", from, err, out)
	}
}

func (p *bare) start(b *testing.B) {
	b.Helper()
	p.proc = p.root.Start(b, pgtest.Command{Path: p.root.BinDir() + "/postgres", Args: p.args})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := p.sql("SELECT 1"); err == nil {
			return
		}
	}
	b.Fatalf("the server without agents does not answer:\n%s", p.proc.Stderr())
}

func (p *bare) stop(b *testing.B) {
	b.Helper()
	p.proc.Signal(b, syscall.SIGINT)
	if code := p.proc.Wait(b, patience); code != 0 {
		b.Errorf("the server without agents: exit status %d\n%s", code, p.proc.Stderr())
	}
}

func (m *member) pgbench(args ...string) pgtest.Command {
	return pgtest.Command{Path: m.root.BinDir() + "/pgbench", Args: append([]string{"-h", m.at("socket"), "-p", strconv.Itoa(m.port), "-U", "postgres"}, append(args, "postgres")...)}
}

// tps is one measurement, after a checkpoint and three seconds that warm the server up.
func (m *member) tps(b *testing.B) float64 {
	b.Helper()
	if _, err := m.sql("CHECKPOINT"); err != nil {
		b.Fatal(err)
	}
	out := ""
	for _, seconds := range []int{3, *benchSeconds} {
		var err error
		if out, err = m.root.Run(m.pgbench("-n", "-c", "8", "-j", "2", "-T", strconv.Itoa(seconds))); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	_, rest, _ := strings.Cut(out, "tps = ")
	number, _, _ := strings.Cut(rest, " ")
	tps, err := strconv.ParseFloat(number, 64)
	if err != nil {
		b.Fatalf("pgbench says no tps:\n%s", out)
	}
	return tps
}
