package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
)

func TestContainerThatEndsShutsTheServerDownProperly(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, major int) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			p := running(t, major)
			load := p.load(5)
			p.proc.Signal(t, sig)
			if s := p.wait("reports that the container ends", func(s grant.State) bool { return s.Ending }); s.Server != grant.Writable || s.Phase == grant.Stopping {
				t.Errorf("%v: the server is %s, %s: keeper has no time to hand over", sig, s.Server, s.Phase)
			}
			p.orderStop()
			if code := p.proc.Wait(t, 30*time.Second); code != 0 {
				t.Errorf("%v: exit code is %d, want 0", sig, code)
			}
			load.done.Wait()
			if got, want := p.control("Database cluster state"), "shut down"; got != want {
				t.Errorf("%v: the cluster is %q, want %q", sig, got, want)
			}
			if s := p.waitStopped(); s.LastExit != "exit status 0" || s.KilledAll {
				t.Errorf("%v: last exit is %q, killed all %v", sig, s.LastExit, s.KilledAll)
			}
		}
	})
}

// Without a keeper nobody hands over, and the server must still be down within the grace period.
func TestContainerThatEndsDoesNotWaitForKeeperForLong(t *testing.T) {
	t.Parallel()
	p := running(t, 17, func(p *pod) { p.env = []string{"PGSPAN_STOP_TIMEOUT=10s"} })
	began := time.Now()
	p.proc.Signal(t, syscall.SIGTERM)
	if code := p.proc.Wait(t, 10*time.Second); code != 0 {
		t.Errorf("exit code is %d, want 0", code)
	}
	if took := time.Since(began); took < 4*time.Second || took > 8*time.Second {
		t.Errorf("it took %v, want two fifths of 10 s and a little", took)
	}
}

func TestShutdownThatHangsIsCutShortInTime(t *testing.T) {
	p := running(t, 17, func(p *pod) { p.env = []string{"PGSPAN_STOP_TIMEOUT=10s"} })
	for _, proc := range p.servers() {
		if proc.pid != p.postmaster() {
			p.signal(proc.pid, syscall.SIGSTOP) // nobody answers the postmaster
		}
	}
	began := time.Now()
	p.proc.Signal(t, syscall.SIGTERM)
	p.order(func(g *grant.Grant) { g.Role, g.Reason, p.renewStop = grant.Stop, "hands over", true })
	code := p.proc.Wait(t, 10*time.Second)
	if took := time.Since(began); took < 4*time.Second || took > 8*time.Second {
		t.Errorf("it took %v, want 5 s and a little", took)
	}
	if code == 0 {
		t.Error("exit code is 0 after a server that had to be killed")
	}
}

func TestExitStatusOfTheServerIsPassedOn(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	for _, proc := range p.servers() {
		p.signal(proc.pid, syscall.SIGSTOP)
	}
	p.proc.Signal(t, syscall.SIGQUIT) // immediate; the postmaster cannot hear it and gets SIGKILL
	if code, want := p.proc.Wait(t, 10*time.Second), 128+9; code != want {
		t.Errorf("exit code is %d, want %d", code, want)
	}
}

func TestSecondPodOnTheVolumeWaitsAndNamesTheFirst(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	second := newPod(t, p.Root, "db-0-again", p.volume)
	second.order(func(g *grant.Grant) {
		g.Role, g.Epoch, g.Timeline, g.Reason = grant.Primary, p.grant.Epoch, 1, "believes to be the one"
	})
	second.start()
	s := second.wait("the second pod waits", func(s grant.State) bool { return s.Phase == grant.Locking })
	if !strings.Contains(s.Reason, "db-0 ") || !strings.Contains(s.Reason, p.uid()) {
		t.Errorf("the reason names nobody: %q", s.Reason)
	}
	for range 30 {
		if n := len(second.servers()); n != 0 {
			t.Fatalf("the second pod runs %d server processes", n)
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.freeze()
	p.proc.Kill()
	second.waitRunning(grant.Writable)
	if h, ok, err := volumelock.HeldBy(second.paths().Lock()); err != nil || !ok || h.UID != second.uid() {
		t.Errorf("the lock is signed by %v (%v, %v)", h, ok, err)
	}
}

func TestKilledContainerAlwaysStartsAgain(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, major int) {
		p := running(t, major)
		p.sql("CREATE TABLE kept (n int)")
		kills := 3
		if major == 17 {
			kills = 10
		}
		for n := range kills {
			p.sql(fmt.Sprintf("INSERT INTO kept VALUES (%d)", n))
			p.proc.Kill()
			// A low process id, as PostgreSQL has it in a container: one that guard's own threads take again.
			if n%2 == 1 {
				rewritePID(t, p.data("postmaster.pid"), 4)
				rewritePID(t, p.Outside(fmt.Sprintf("%s/.s.PGSQL.%d.lock", p.at("socket"), p.port)), 4)
			}
			killed := boottime.Now()
			p.start()
			p.wait("runs again", func(s grant.State) bool {
				return s.Beat > killed && s.Phase == grant.Running && s.Server == grant.Writable
			})
			if got, want := p.sql("SELECT count(*) FROM kept"), fmt.Sprint(n+1); got != want {
				t.Fatalf("after kill %d there are %s rows, want %s", n+1, got, want)
			}
		}
	})
}

func rewritePID(t *testing.T, path string, pid int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n")
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n%s", pid, rest), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestZombiesAreReaped(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	// The shell ends at once and leaves children behind, which are guard's from then on.
	p.sql(`COPY (SELECT 1) TO PROGRAM 'for i in 1 2 3 4 5; do (sleep 0.5; exit 3) >/dev/null 2>&1 & done; cat >/dev/null'`)
	orphans := func() (living, dead int) {
		for _, proc := range p.processes() {
			if proc.ppid == p.proc.PID && proc.pid != p.postmaster() {
				if proc.state == "Z" {
					dead++
				} else {
					living++
				}
			}
		}
		return living, dead
	}
	eventually(t, "guard has got the orphans", func() bool { living, _ := orphans(); return living >= 5 })
	eventually(t, "the orphans are gone", func() bool { living, dead := orphans(); return living == 0 && dead == 0 })
	if got := p.sql("SELECT 1"); got != "1" {
		t.Errorf("the server answers %q", got)
	}
}

func TestServerSeesNothingOfGuardsEnvironment(t *testing.T) {
	t.Parallel()
	p := running(t, 17, func(p *pod) {
		p.env = []string{"PGOPTIONS=-c work_mem=99MB", "PGDATA=/nowhere", "PGHOST=wrong", "POSTGRES_PASSWORD=secret", "GDAL_DATA=/gdal"}
	})
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.postmaster()))
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range strings.Split(string(b), "\x00") {
		name, _, _ := strings.Cut(kv, "=")
		// PGSYSCONFDIR and PGLOCALEDIR are set by the server itself.
		if strings.HasPrefix(name, "PG") && name != "PGSYSCONFDIR" && name != "PGLOCALEDIR" || strings.HasPrefix(name, "POSTGRES_") {
			t.Errorf("the server has %s", name)
		}
	}
	if !strings.Contains(string(b), "GDAL_DATA=/gdal") {
		t.Error("the variable of an extension was taken away")
	}
}

func TestServerThatDoesNotStartIsReportedAndLeftAlone(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	p.orderStop()
	p.waitStopped()
	p.settings("  sharedPreloadLibraries: [no_such_library]\n")
	before := p.control("pg_control last modified")
	p.orderPrimary(1, 1)
	s := p.wait("the failure is reported", func(s grant.State) bool {
		return s.Phase == grant.Stopped && strings.Contains(s.Reason, "ended by itself")
	})
	if !strings.Contains(s.Reason, "exit status 1") {
		t.Errorf("the reason is %q", s.Reason)
	}
	eventually(t, "it is tried more than once", func() bool { return strings.Count(p.proc.Stderr(), "no_such_library") >= 2 })
	if got := p.control("pg_control last modified"); got != before {
		t.Errorf("the data directory was written at %s", got)
	}
	p.settings("")
	p.waitRunning(grant.Writable)
}

func TestRotatedCertificateIsServedWithoutARestart(t *testing.T) {
	t.Parallel()
	p := running(t, 17)
	before, postmaster := p.served(), p.postmaster()
	p.certificates()
	eventually(t, "the new certificate is served", func() bool { return !before.Equal(p.served()) })
	if p.postmaster() != postmaster {
		t.Error("the server was restarted")
	}
}

// served is the certificate that the server shows.
func (p *pod) served() *x509.Certificate {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p.port))
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	request := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), 80877103) // SSLRequest
	if _, err := conn.Write(request); err != nil {
		p.t.Fatal(err)
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 'S' {
		p.t.Fatalf("the server does not offer TLS: %q, %v", answer, err)
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // which certificate it is, is the question here
	if err := c.HandshakeContext(ctx); err != nil {
		p.t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0]
}

func TestProbeAnswersWithAndWithoutAServer(t *testing.T) {
	t.Parallel()
	root := pgtest.OpenRoot(t, 17)
	p := newPod(t, root, "db-0", root.TempDir(t))
	p.start()
	live := func() bool {
		r, err := http.Get("http://" + p.probes + "/livez")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
	eventually(t, "the probe answers with no server", live)
	p.proc.Signal(t, syscall.SIGSTOP)
	// The signal takes a moment to reach every thread: a request that is under way may still be answered.
	client := http.Client{Timeout: time.Second}
	eventually(t, "a frozen guard does not answer the probe", func() bool {
		r, err := client.Get("http://" + p.probes + "/livez")
		if err == nil {
			r.Body.Close()
		}
		return err != nil
	})
	p.proc.Signal(t, syscall.SIGCONT)
	eventually(t, "the probe answers again", live)
}

func TestNoopSucceeds(t *testing.T) {
	root := pgtest.OpenRoot(t, 17)
	if _, err := root.Run(pgtest.Command{Path: root.Install(t, pgtest.Build(t, "./agents/guard")), Args: []string{"-noop"}}); err != nil {
		t.Error(err)
	}
}

func TestMistakesInTheManifestAreAllReported(t *testing.T) {
	root := pgtest.OpenRoot(t, 17)
	guard := root.Install(t, pgtest.Build(t, "./agents/guard"))
	_, err := root.Run(pgtest.Command{Path: guard, Env: []string{"PGSPAN_FENCE_AFTER=1ms", "PGSPAN_STOP_TIMEOUT=1s", "PGSPAN_LOG_LEVEL=loud"}})
	for _, want := range []string{"PGSPAN_FENCE_AFTER", "PGSPAN_STOP_TIMEOUT", "PGSPAN_LOG_LEVEL", "PGSPAN_POD_UID"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %s: %v", want, err)
		}
	}
}
