package postmaster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestStatusLine(t *testing.T) {
	file := func(pid int, status string) string {
		return fmt.Sprintf("%d\n/var/lib/pgspan/pgdata\n1763764800\n5432\n/pgspan/socket\n*\n  5432001         0\n%s\n", pid, status)
	}
	for _, tt := range []struct {
		name, file string
		want       Status
		accepts    bool
	}{
		{"recovery_goes_on", file(17, "starting"), Starting, false},
		{"primary_or_hot_standby", file(17, "ready   "), Ready, true},
		{"standby_that_serves_nobody", file(17, "standby "), StandbyStatus, true},
		{"shutdown", file(17, "stopping"), StoppingStatus, false},
		{"file_of_an_earlier_life", file(4, "ready   "), Unknown, false},
		{"single_user_postgres_has_a_negative_pid", file(-17, "ready"), Unknown, false},
		{"half_written", "17\n/var/lib/pgspan/pgdata\n1763764800\n", Unknown, false},
		{"empty", "", Unknown, false},
		{"word_of_a_release_to_come", file(17, "dreaming"), Unknown, false},
		{"garbage", "\x00\x00\n\n\n\n\n\n\nready\n", Unknown, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "postmaster.pid"), tt.file)
			got, err := ReadStatus(dir, 17)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want || got.Accepts() != tt.accepts {
				t.Errorf("got %q (accepts %v), want %q (accepts %v)", got, got.Accepts(), tt.want, tt.accepts)
			}
		})
	}
	t.Run("no_file", func(t *testing.T) {
		if got, err := ReadStatus(t.TempDir(), 17); got != Unknown || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("unreadable_is_an_error_and_not_unknown", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "postmaster.pid"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadStatus(dir, 17); err == nil {
			t.Error("no error")
		}
	})
}

func TestCleanEnv(t *testing.T) {
	got := CleanEnv([]string{"PATH=/bin", "PGDATA=/x", "PGOPTIONS=-c fsync=off", "PGSPAN_POD_NAME=p", "PG_MAJOR=17", "POSTGRES_PASSWORD=s", "LANG=C.UTF-8", "GDAL_DATA=/g=h"})
	want := []string{"PATH=/bin", "LANG=C.UTF-8", "GDAL_DATA=/g=h"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHowAServerEnded(t *testing.T) {
	for _, tt := range []struct {
		status syscall.WaitStatus
		code   int
		words  string
	}{
		{0, 0, "exit status 0"},
		{1 << 8, 1, "exit status 1"},
		{syscall.WaitStatus(syscall.SIGKILL), 137, "killed by signal 9 (killed)"},
	} {
		if code, words := describe(tt.status); code != tt.code || words != tt.words {
			t.Errorf("got %d %q, want %d %q", code, words, tt.code, tt.words)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStaleSocketsAreRemovedAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".s.PGSQL.5432", ".s.PGSQL.5432.lock", ".s.PGSQL.6432.lock", "other"} {
		write(t, filepath.Join(dir, name), "4\n")
	}
	for range 2 { // nothing left is no error
		if err := RemoveSockets(dir); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left are %v (%v)", left, err)
	}
}
