package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

func testSettings(t *testing.T, c *cluster) {
	since := time.Now()
	p := startPooler(t, c, func(config *Config) {
		config.PrimaryRoutingQueries = []string{`.*'routed; here'.*`}
		config.WriteFunctions = []string{"nextval", "^app_.*"}
		config.Cache = &Cache{ExpireSeconds: 60, SafeTables: []string{"safe_.*"}, UnsafeTables: []string{"jobs"}}
		config.Parameters = map[string]string{"log_hostname": "on"}
	})
	conn := p.connect(t, "app")
	rows, err := conn.Query(context.Background(), "PGPOOL SHOW ALL", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		shown[values[0].(string)] = values[1].(string)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	// pgpool ignores a name that it does not know, so each must be among what it shows.
	for _, line := range strings.Split(string(p.root.ReadFile(t, p.dir+"/conf/pgpool.conf")), "\n") {
		name, value, ok := strings.Cut(line, " = ")
		if !ok {
			continue
		}
		got, known := shown[name]
		switch want := strings.Trim(value, "'"); {
		case !known:
			t.Errorf("pgpool does not know %s", name)
		case got != want && showsOtherwise[name] != got:
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, line := range strings.Split(p.Stderr(), "\n") {
		for _, bad := range []string{"unrecognized", "WARNING", "FATAL", "ERROR", "syntax error", "could not"} {
			if strings.Contains(line, bad) {
				t.Errorf("pgpool complains: %s", line)
			}
		}
	}
	if files := written(t, p.root, since, "/run", "/var", "/etc", "/tmp"); len(files) > 0 {
		t.Errorf("written outside of the mounted places: %v", files)
	}
}

// showsOtherwise are settings that pgpool shows in other words.
var showsOtherwise = map[string]string{
	"backend_flag0": "DISALLOW_TO_FAILOVER|ALWAYS_PRIMARY", "pool_passwd": "*****", "search_primary_node_timeout": "1s",
	"child_life_time": "5min", "connection_life_time": "5min",
	"memqcache_total_size": "64MB", "memqcache_cache_block_size": "1MB", "memqcache_maxcache": "400kB", "memqcache_expire": "1min",
}

func testLogins(t *testing.T, c *cluster) {
	p := startPooler(t, c)
	for user, password := range hard {
		t.Run("hard_password_of_"+user, func(t *testing.T) {
			if got, err := psql(t, p, user, password, "SELECT current_user"); err != nil || got != user {
				t.Errorf("psql: got %q, %v; want %q", got, err, user)
			}
			if user == "normalised" {
				return // pgx has another normal form than PostgreSQL
			}
			conn, err := p.open(user, password)
			if err != nil {
				t.Fatal(err)
			}
			defer closeConn(conn)
			if got := mustAsk(t, conn, "SELECT current_user::text"); got != user {
				t.Errorf("logged in as %s, want %s", got, user)
			}
		})
	}
	refused := map[string]struct{ user, password string }{
		"wrong_password":            {"app", "wrong"},
		"empty_password":            {"app", ""},
		"trailing_blank_left_out":   {"spaces", "  two before, three after  "},
		"user_without_a_secret":     {"postgres", "pgtest-password"},
		"user_that_is_not_there":    {"nobody", "x"},
		"raw_line_of_the_file":      {"app", "TEXTplain"},
		"longest_password_cut_by_1": {"longest", strings.Repeat("x", longest-1)},
	}
	for name, r := range refused {
		t.Run(name+"_is_refused", func(t *testing.T) {
			conn, err := p.open(r.user, r.password)
			if err == nil {
				closeConn(conn)
				t.Fatal("logged in")
			}
			if !strings.Contains(err.Error(), "authentication failed") {
				t.Errorf("got %v, want authentication failed", err)
			}
		})
	}
	t.Run("clear_text_is_refused", func(t *testing.T) {
		config, err := pgx.ParseConfig("postgres://app:plain@" + p.address() + "/postgres?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			closeConn(conn)
			t.Fatal("logged in")
		}
		var refusal *pgconn.PgError
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "client authentication failed") {
			t.Errorf("got %v, want authentication failed", err)
		}
		eventually(t, "the reason is in the log", func() error {
			if want := `no pool_hba.conf entry for host "127.0.0.1", user "app", database "postgres", SSL off`; !strings.Contains(p.Stderr(), want) {
				return errors.New(want)
			}
			return nil
		})
	})
	t.Run("links_to_servers_are_tls", func(t *testing.T) {
		conn := p.connect(t, "app")
		mustAsk(t, conn, where)
		const links = "SELECT count(*) || ' of them, TLS: ' || coalesce(bool_and(ssl)::text, '?') " +
			"FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = 'app' AND backend_type = 'client backend'"
		for _, s := range []interface {
			SQL(testing.TB, string) string
		}{c.primary, c.standby} {
			if got := s.SQL(t, links); strings.HasPrefix(got, "0 ") || !strings.HasSuffix(got, "TLS: true") {
				t.Errorf("%v: links %s; want some, all of them TLS", s, got)
			}
		}
	})
}

// psql runs a query by libpq, which every other client is measured by.
func psql(t *testing.T, p *pooler, user, password, query string) (string, error) {
	t.Helper()
	root := pgtest.OpenRoot(t, 17)
	ca := root.TempDir(t) + "/ca.crt"
	root.WriteFile(t, ca, p.root.ReadFile(t, p.dir+"/tls/ca.crt"), 0o600)
	out, err := root.Run(pgtest.Command{
		Path: "psql",
		Args: []string{"-XqAt", "-c", query},
		Env: []string{"PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", p.port), "PGUSER=" + user, "PGPASSWORD=" + password,
			"PGDATABASE=postgres", "PGSSLMODE=verify-full", "PGSSLROOTCERT=" + ca},
	})
	return strings.TrimSuffix(out, "\n"), err
}
