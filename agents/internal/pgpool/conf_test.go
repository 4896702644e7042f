package pgpool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func config() Config {
	return Config{
		Port: 5432, Primary: Backend{"db-rw", 5432, 1}, Replicas: &Backend{"db-ro", 5432, 2},
		Children: 32, PoolPerChild: 2, DisableLoadBalanceOnWrite: "always",
	}
}

func TestRenderNeverLetsPgpoolFailOver(t *testing.T) {
	for _, m := range []Mode{Split, ReadOnly} {
		conf := Render(config(), m, Places{"/conf", "/keys", "/socket"})
		for _, want := range []string{
			"failover_on_backend_error = 'off'\n", "failover_on_backend_shutdown = 'off'\n", "health_check_period = '0'\n",
			"sr_check_period = '0'\n", "use_watchdog = 'off'\n", "backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'\n",
			"ssl = 'on'\n", "allow_clear_text_frontend_auth = 'off'\n", "memory_cache_enabled = 'off'\n",
		} {
			if !strings.Contains(conf, want) {
				t.Errorf("mode %s lacks %q", m, want)
			}
		}
	}
}

func TestRenderGivesTheBackendsOfTheMode(t *testing.T) {
	alone := config()
	alone.Replicas = nil
	cases := map[string]struct {
		c    Config
		m    Mode
		want []string
		not  string
	}{
		"split":                              {config(), Split, []string{"backend_hostname0 = 'db-rw'", "backend_hostname1 = 'db-ro'", "backend_weight1 = '2'", "backend_flag1 = 'DISALLOW_TO_FAILOVER'"}, "hostname2"},
		"no_primary":                         {config(), ReadOnly, []string{"backend_hostname0 = 'db-ro'"}, "db-rw"},
		"no_replicas_have_no_dead_backend":   {alone, Split, []string{"backend_hostname0 = 'db-rw'"}, "hostname1"},
		"no_replicas_never_lose_the_primary": {alone, ReadOnly, []string{"backend_hostname0 = 'db-rw'"}, "hostname1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conf := Render(c.c, c.m, Places{})
			for _, want := range c.want {
				if !strings.Contains(conf, want) {
					t.Errorf("lacks %q", want)
				}
			}
			if strings.Contains(conf, c.not) {
				t.Errorf("has %q", c.not)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	if bad := config().Validate(); len(bad) != 0 {
		t.Fatalf("a proper configuration is refused: %v", bad)
	}
	cases := map[string]struct {
		change func(*Config)
		want   string
	}{
		"failover_asked_for":        {func(c *Config) { c.Parameters = map[string]string{"failover_on_backend_error": "on"} }, "never fail over"},
		"backend_slipped_in":        {func(c *Config) { c.Parameters = map[string]string{"backend_hostname2": "x"} }, "may not be set"},
		"tls_off":                   {func(c *Config) { c.Parameters = map[string]string{"ssl": "off"} }, "TLS only"},
		"no_primary":                {func(c *Config) { c.Primary.Host = "" }, "primary's Service"},
		"no_children":               {func(c *Config) { c.Children = 0 }, "at least 1"},
		"unknown_read_after_write":  {func(c *Config) { c.DisableLoadBalanceOnWrite = "never" }, "dml_adaptive"},
		"mistyped_read_after_write": {func(c *Config) { c.DisableLoadBalanceOnWrite = "" }, "dml_adaptive"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			c.change(&cfg)
			if got := strings.Join(cfg.Validate(), "\n"); !strings.Contains(got, c.want) {
				t.Errorf("Validate() = %q, want %q in it", got, c.want)
			}
		})
	}
}

func TestQuoteInAValueCannotStartAnotherSetting(t *testing.T) {
	c := config()
	c.PrimaryRoutingQueries = []string{"select 'x'"}
	if conf := Render(c, Split, Places{}); !strings.Contains(conf, "primary_routing_query_pattern_list = 'select ''x'''\n") {
		t.Errorf("quotes are not doubled:\n%s", conf)
	}
}

func TestPasswd(t *testing.T) {
	dir := t.TempDir()
	put := func(user, password string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, user), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, user, "password"), []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("app", "s3cret:with=all'sorts\n")
	put("reader", "x")
	if err := os.Mkdir(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := Passwd(dir)
	if want := "app:TEXTs3cret:with=all'sorts\nreader:TEXTx\n"; err != nil || got != want {
		t.Errorf("Passwd = %q, %v; want %q", got, err, want)
	}

	put("broken", "two\nlines")
	if _, err := Passwd(dir); err == nil || !strings.Contains(err.Error(), "line break") || strings.Contains(err.Error(), "two") {
		t.Errorf("line break: %v; want a refusal that does not show the password", err)
	}
	put("broken", "")
	if _, err := Passwd(dir); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("empty password: %v", err)
	}
}

func TestNextMode(t *testing.T) {
	alone := config()
	alone.Replicas = nil
	const patience = 3 * time.Second
	cases := map[string]struct {
		now  Mode
		c    Config
		s    Sight
		want Mode
	}{
		"primary_answers":                   {Split, config(), Sight{true, time.Hour}, Split},
		"switchover_gap_is_waited_out":      {Split, config(), Sight{false, 2 * time.Second}, Split},
		"primary_gone":                      {Split, config(), Sight{false, patience}, ReadOnly},
		"primary_gone_and_no_replicas":      {Split, alone, Sight{false, time.Hour}, Split},
		"still_no_primary":                  {ReadOnly, config(), Sight{false, time.Hour}, ReadOnly},
		"primary_flaps":                     {ReadOnly, config(), Sight{true, time.Second / 2}, ReadOnly},
		"primary_back":                      {ReadOnly, config(), Sight{true, time.Second}, Split},
		"replicas_scaled_away_in_read_only": {ReadOnly, alone, Sight{false, time.Hour}, Split},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, why := NextMode(c.now, c.c, c.s, patience)
			if got != c.want || why == "" {
				t.Errorf("NextMode = %s (%s), want %s and a reason", got, why, c.want)
			}
		})
	}
}
