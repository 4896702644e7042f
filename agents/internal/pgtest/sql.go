package pgtest

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// SQL runs statements as the superuser in the database postgres, by psql over the Unix socket, and returns the rows:
// columns separated by "|", one row a line. It fails the test on an error.
func (s *Server) SQL(t testing.TB, statements string) string {
	t.Helper()
	out, err := s.TrySQL("postgres", statements)
	if err != nil {
		t.Fatalf("%v: %s: %v", s, statements, err)
	}
	return out
}

// TrySQL is SQL for statements that may fail, in any database.
func (s *Server) TrySQL(database, statements string) (string, error) {
	out, err := s.Run(Command{
		Path: s.BinDir() + "/psql",
		Args: []string{"-h", s.SocketDir, "-p", strconv.Itoa(s.Port), "-U", "postgres", "-d", database,
			"-XqAt", "-v", "ON_ERROR_STOP=1"},
		Stdin: strings.NewReader(statements),
	})
	return strings.TrimSuffix(out, "\n"), err
}

// WaitSQL runs a query until it answers what is wanted. Errors are waited through, because a replica that catches up
// may not have the table yet.
func (s *Server) WaitSQL(t testing.TB, query, want string) {
	t.Helper()
	deadline := time.Now().Add(startLimit)
	for {
		got, err := s.TrySQL("postgres", query)
		if err == nil && got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v: %s: got %q (error %v) after %v, want %q\n%s", s, query, got, err, startLimit, want, s.Log())
		}
		time.Sleep(50 * time.Millisecond)
	}
}
