package accounts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// RFC 7677's example, as a verifier.
func TestVerifierIsTheOneOfTheStandard(t *testing.T) {
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if !matches("pencil", want) {
		t.Error("the password of RFC 7677 does not match its verifier")
	}
	for _, p := range []password{"pencil ", "Pencil", ""} {
		if matches(p, want) {
			t.Errorf("%q matches", string(p))
		}
	}
	for _, stored := range []string{"", "md5abc", "SCRAM-SHA-256", "SCRAM-SHA-256$4096", "SCRAM-SHA-256$x:W22ZaJ0SNY7soEsUEjb6gQ==$a:b",
		"SCRAM-SHA-256$99999999:W22ZaJ0SNY7soEsUEjb6gQ==$a:b"} {
		if matches("pencil", stored) {
			t.Errorf("matches %q", stored)
		}
	}
	v, err := verifier("pencil")
	if err != nil || !matches("pencil", v) || v == want {
		t.Errorf("got %s, %v", v, err)
	}
}

func TestPasswordDoesNotPrint(t *testing.T) {
	p := password("hunter2")
	for _, f := range []string{"%v", "%s", "%q", "%+v", "%#v"} {
		if out := fmt.Sprintf(f, p); strings.Contains(out, "hunter2") {
			t.Errorf("%s prints %s", f, out)
		}
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	s := settings.Settings{
		Users: map[string]settings.User{
			"postgres": {}, "pgspan_replication": {}, "pg_x": {}, "good": {Options: []string{"createdb"}},
			"root": {Options: []string{"SUPERUSER"}}, "repl": {Options: []string{"replication"}}, "odd": {Options: []string{"PASSWORD 'x'"}},
		},
		Databases: map[string]settings.Database{"template1": {Owner: "good"}, "lost": {}},
	}
	err := Check(s)
	if err == nil {
		t.Fatal("nothing was refused")
	}
	for _, want := range []string{"user postgres:", "user pgspan_replication:", "user pg_x:", "user root: option SUPERUSER", "user repl: option replication",
		"user odd: option PASSWORD", "database template1", "database lost has no owner"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "user good") {
		t.Errorf("a good user is refused: %v", err)
	}
}

func TestKeep(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			testKeep(t, major)
		})
	}
}

// The names are such as break statements that are put together carelessly.
const (
	oddUser     = `Bob "the" O'Neil; DROP TABLE x`
	oddDatabase = `App's "data"`
	oddPassword = `pa'ss\"word; é $x$`
)

func testKeep(t *testing.T, major int) {
	server := pgtest.New(t, major, pgtest.WithSetting("log_statement", "all"), pgtest.WithSetting("log_min_duration_statement", "0"))
	server.Start(t)
	w := pg.Where{SocketDir: server.Outside(server.SocketDir), Port: server.Port}
	passwords := map[string]string{}
	setPassword := func(user, text string) { passwords[user] = text }
	given := func(user string) (string, error) {
		if text, ok := passwords[user]; ok {
			return text, nil
		}
		return "", errors.New("its Secret is not there")
	}
	setPassword("app", "secret-of-app\n")
	setPassword(oddUser, oddPassword)
	limit := 7
	s := settings.Settings{
		Users: map[string]settings.User{
			"app": {MemberOf: []string{"pg_read_all_stats"}, ConnectionLimit: &limit}, oddUser: {Options: []string{"CREATEDB"}}, "nopass": {},
		},
		Databases: map[string]settings.Database{
			"app": {Owner: "app", Extensions: []string{"pg_trgm", "pg_stat_statements"}}, oddDatabase: {Owner: oddUser}, "orphan": {Owner: "nobody"},
		},
	}
	keep := func() ([]string, error) {
		t.Helper()
		return Keep(t.Context(), w, s, given)
	}
	changed, err := keep()
	if err == nil || !strings.Contains(err.Error(), "password of user nopass: its Secret is not there") || !strings.Contains(err.Error(), "orphan") {
		t.Errorf("problems: got %v", err)
	}
	for _, want := range []string{"role pgspan_replication created", "role app created", "password of app set", "database app created", "extension pg_trgm created in database app", "app made a member of pg_read_all_stats"} {
		if !slices.Contains(changed, want) {
			t.Errorf("%q is not among the changes %q", want, changed)
		}
	}
	sql := func(q, want string) {
		t.Helper()
		if got := server.SQL(t, q); got != want {
			t.Errorf("%s: got %q, want %q", q, got, want)
		}
	}
	sql("SELECT rolreplication, rolsuper, rolpassword IS NULL FROM pg_authid WHERE rolname = 'pgspan_replication'", "t|f|t")
	sql("SELECT has_function_privilege('pgspan_rewind', 'pg_read_binary_file(text)', 'EXECUTE'), has_function_privilege('app', 'pg_read_binary_file(text)', 'EXECUTE')", "t|f")
	sql("SELECT pg_has_role('pgspan_pooler', 'pg_monitor', 'MEMBER')", "t")
	sql("SELECT rolconnlimit, rolcreatedb, rolsuper FROM pg_roles WHERE rolname = 'app'", "7|f|f")
	sql("SELECT count(*) FROM pg_database WHERE datname = $$"+oddDatabase+"$$", "1")
	if out, err := server.TrySQL("app", "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'pg_trgm'"); err != nil || out != "public" {
		t.Errorf("pg_trgm's schema: got %q, %v; want public", out, err)
	}

	t.Run("second_run_changes_nothing", func(t *testing.T) {
		if changed, _ := keep(); len(changed) != 0 {
			t.Errorf("changed %q", changed)
		}
	})
	login := func(user, pass string) error {
		_, err := server.Run(pgtest.Command{Path: server.BinDir() + "/psql", Env: []string{"PGPASSWORD=" + pass},
			Args: []string{"-h", server.Host, "-p", strconv.Itoa(server.Port), "-U", user, "-d", "app", "-XAtc", "SELECT 1"}})
		return err
	}
	t.Run("users_log_in", func(t *testing.T) {
		if err := login("app", "secret-of-app"); err != nil {
			t.Error(err)
		}
		if err := login(oddUser, oddPassword); err != nil {
			t.Error(err)
		}
		if login("app", "wrong") == nil {
			t.Error("a wrong password is accepted")
		}
	})
	t.Run("changed_password_is_taken_over", func(t *testing.T) {
		setPassword("app", "another-secret")
		if changed, _ := keep(); !slices.Equal(changed, []string{"password of app set"}) {
			t.Errorf("changed %q", changed)
		}
		if err := login("app", "another-secret"); err != nil {
			t.Error(err)
		}
		if login("app", "secret-of-app") == nil {
			t.Error("the old password still works")
		}
	})
	t.Run("what_was_altered_by_hand_is_put_right", func(t *testing.T) {
		server.SQL(t, "ALTER ROLE pgspan_replication SUPERUSER; ALTER DATABASE app OWNER TO postgres; ALTER ROLE app PASSWORD NULL")
		if changed, _ := keep(); len(changed) != 3 {
			t.Errorf("changed %q, want three", changed)
		}
		sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'pgspan_replication'", "f")
		if err := login("app", "another-secret"); err != nil {
			t.Error(err)
		}
	})
	t.Run("planted_functions_are_not_called", func(t *testing.T) {
		server.SQL(t, `CREATE FUNCTION public.format(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $x$planted$x$; END';
			CREATE FUNCTION public.pg_get_userbyid(oid) RETURNS name LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $x$planted$x$; END';
			CREATE FUNCTION public.evil(oid, oid) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $x$planted$x$; END';
			CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.evil);
			ALTER ROLE postgres SET search_path = public, pg_catalog`)
		if _, err := keep(); err != nil && strings.Contains(err.Error(), "planted") {
			t.Error(err)
		}
	})
	t.Run("no_secret_in_the_log", func(t *testing.T) {
		log := server.Log()
		if !strings.Contains(log, "CREATE FUNCTION public.format") {
			t.Fatal("the server logs no statements: this test shows nothing")
		}
		for _, secret := range []string{"secret-of-app", "another-secret", "pa'ss", "SCRAM-SHA-256$", "CREATE ROLE"} {
			if strings.Contains(log, secret) {
				t.Errorf("the server's log has %q", secret)
			}
		}
	})
}
