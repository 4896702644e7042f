package pgtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// each runs a test for every major version.
func each(t *testing.T, test func(t *testing.T, major int)) {
	for _, major := range testMajors {
		t.Run(strconv.Itoa(major), func(t *testing.T) { test(t, major) })
	}
}

var testMajors = []int{15, 17, 18}

func TestPrimaryAndReplica(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		primary := New(t, major)
		primary.Start(t)
		got := primary.SQL(t, "SELECT current_setting('server_version_num')::int / 10000")
		if want := strconv.Itoa(major); got != want {
			t.Fatalf("server version: got %s, want %s", got, want)
		}
		primary.SQL(t, "CREATE TABLE jobs (id bigint, note text); INSERT INTO jobs VALUES (1, 'grüße')")

		replica := primary.BaseBackup(t)
		replica.Start(t)
		replica.WaitSQL(t, "SELECT id, note FROM jobs", "1|grüße")
		if got := replica.SQL(t, "SELECT pg_is_in_recovery()"); got != "t" {
			t.Errorf("replica in recovery: got %s, want t", got)
		}
		primary.SQL(t, "INSERT INTO jobs VALUES (2, 'streamed')")
		replica.WaitSQL(t, "SELECT count(*) FROM jobs", "2")
		if _, err := replica.TrySQL("postgres", "INSERT INTO jobs VALUES (3, 'refused')"); err == nil {
			t.Error("replica accepted a write")
		}
	})
}

func TestRowsSurviveStopAndKill(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		s := New(t, major)
		s.Start(t)
		s.SQL(t, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
		s.Stop(t)
		if s.Running() {
			t.Fatal("server runs after Stop")
		}
		s.Start(t)
		s.SQL(t, "INSERT INTO kept VALUES (2)")
		backends := s.Process().Children()
		if len(backends) < 3 {
			t.Fatalf("children of the server: got %v, want at least three", backends)
		}
		s.Kill(t)
		for _, child := range backends {
			if err := syscall.Kill(child.PID, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("process %v outlived its server: %v", child, err)
			}
		}
		s.Start(t)
		if got := s.SQL(t, "SELECT sum(n) FROM kept"); got != "3" {
			t.Errorf("sum after a kill: got %s, want 3", got)
		}
		if !strings.Contains(s.Log(), "was not properly shut down") {
			t.Errorf("no crash recovery in the log of the restarted server:\n%s", s.Log())
		}
	})
}

func TestFreshInitdbHasAnIdentityOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		const query = "SELECT system_identifier FROM pg_control_system()"
		ids := map[string]int{}
		for _, s := range []*Server{New(t, major), New(t, major), New(t, major, WithFreshInitdb())} {
			s.Start(t)
			ids[s.SQL(t, query)]++
		}
		if len(ids) != 2 {
			t.Errorf("system identifiers: got %v, want one used twice and another", ids)
		}
	})
}

func TestTLSOverTCP(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		s := New(t, major, WithTLS(), WithHBA("local all all trust", "hostssl all all 127.0.0.0/8 scram-sha-256"))
		s.Start(t)
		psql := func(mode string) (string, error) {
			return s.Run(Command{
				Path: "psql",
				Args: []string{"-XqAt", "-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
					fmt.Sprintf("host=%s port=%d user=postgres sslmode=%s sslrootcert=%s/keys/ca.crt", s.Host, s.Port, mode, s.Volume)},
				Env: []string{"PGPASSWORD=" + Password},
			})
		}
		if got, err := psql("verify-full"); err != nil || got != "t\n" {
			t.Errorf("verify-full: got %q, %v; want t", got, err)
		}
		if got, err := psql("disable"); err == nil {
			t.Errorf("a connection without TLS was let in and answered %q", got)
		}
	})
}

func TestProcessIsContained(t *testing.T) {
	root := OpenRoot(t, 17)
	tests := []struct {
		name string
		cmd  Command
		want string
	}{
		{"runs_as_the_images_user", Command{Path: "id", Args: []string{"-u"}}, "999\n"},
		{"runs_as_a_user_without_passwd_entry", Command{Path: "id", Args: []string{"-u"}, UID: 1000660000}, "1000660000\n"},
		{"is_pid_1", Command{Path: "/bin/sh", Args: []string{"-c", "echo $$"}}, "1\n"},
		{"sees_only_its_own_processes", Command{Path: "/bin/sh", Args: []string{"-c", "echo /proc/[0-9]*"}}, "/proc/1\n"},
		{"keeps_no_mount_of_the_machine_in_use", Command{Path: "cut", Args: []string{"-d", " ", "-f", "5", "/proc/self/mountinfo"}}, "/\n/proc\n/dev/shm\n"},
		{"has_only_the_environment_it_was_given", Command{Path: "/bin/sh", Args: []string{"-c", "echo $A:$GOROOT$PWD"}, Env: []string{"A=b"}, Dir: "/etc"}, "b:/etc\n"},
		{"finds_the_servers_programs", Command{Path: "/bin/sh", Args: []string{"-c", "command -v initdb"}}, "/usr/lib/postgresql/17/bin/initdb\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := root.Run(tt.cmd)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	root := OpenRoot(t, 17)
	_, err := root.Run(Command{Path: "/bin/sh", Args: []string{"-c", "echo bad >&2; exit 3"}})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || exit.Stderr != "bad\n" {
		t.Errorf("got %#v, want exit status 3 and its message", err)
	}
	p := root.Start(t, Command{Path: "sleep", Args: []string{"100"}})
	p.Signal(t, syscall.SIGKILL)
	if got, want := p.Wait(t, 10*time.Second), 128+9; got != want {
		t.Errorf("exit code after SIGKILL: got %d, want %d", got, want)
	}
}

func TestDirectoriesOfADeadRunAreRemoved(t *testing.T) {
	root := OpenRoot(t, 17)
	left := root.Outside(testDir + "/rdead")
	if err := os.MkdirAll(left+"/t1/pgdata", 0o700); err != nil {
		t.Fatal(err)
	}
	again := &Root{Major: 17, Dir: root.Dir}
	lock, err := again.claimRun()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	defer os.RemoveAll(again.Outside(again.run))
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory of a dead run: got %v, want it gone", err)
	}
	if _, err := os.Stat(root.Outside(root.run)); err != nil {
		t.Errorf("directory of a live run was removed: %v", err)
	}
}
