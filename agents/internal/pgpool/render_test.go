package pgpool

import (
	"strings"
	"testing"
)

func config() Config {
	return Config{
		Port: 5432, Primary: Backend{"db-rw", 5432, 1}, Replicas: &Backend{"db-ro", 5432, 2},
		Children: 32, PoolPerChild: 2, DisableLoadBalanceOnWrite: "always",
	}
}

func render(t *testing.T, c Config) string {
	t.Helper()
	conf, err := Render(c, Places{"/conf", "/keys", "/socket"})
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func TestRenderNeverLetsPgpoolFailOver(t *testing.T) {
	conf := render(t, config())
	for _, want := range []string{
		"failover_on_backend_error = 'off'\n", "failover_on_backend_shutdown = 'off'\n", "health_check_period = '0'\n",
		"sr_check_period = '0'\n", "use_watchdog = 'off'\n", "backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'\n",
		"backend_flag1 = 'DISALLOW_TO_FAILOVER'\n",
		"ssl = 'on'\n", "allow_clear_text_frontend_auth = 'off'\n", "memory_cache_enabled = 'off'\n",
	} {
		if !strings.Contains(conf, want) {
			t.Errorf("lacks %q", want)
		}
	}
}

func TestRenderGivesBackendsByLinks(t *testing.T) {
	alone := config()
	alone.Replicas = nil
	cases := map[string]struct {
		c    Config
		want []string
		not  string
	}{
		"replicas":                           {config(), []string{"backend_hostname0 = '/socket/primary'", "backend_hostname1 = '/socket/replicas'", "backend_weight1 = '2'"}, "hostname2"},
		"no_replicas_have_no_dead_backend":   {alone, []string{"backend_hostname0 = '/socket/primary'"}, "hostname1"},
		"the_way_to_a_server_is_not_pgpools": {config(), nil, "db-"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conf := render(t, c.c)
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
	parameter := func(name, value string) func(*Config) {
		return func(c *Config) { c.Parameters = map[string]string{name: value} }
	}
	cases := map[string]struct {
		change func(*Config)
		want   string
	}{
		"failover_asked_for":                   {parameter("failover_on_backend_error", "on"), "never fail over"},
		"backend_slipped_in":                   {parameter("backend_hostname2", "x"), "may not be set"},
		"tls_off":                              {parameter("ssl", "off"), "TLS only"},
		"certificate_of_ones_own":              {parameter("ssl_cert", "/x"), "Secret of certificates"},
		"health_check_of_one_backend":          {parameter("health_check_period0", "5"), "Kubernetes judges"},
		"setting_hidden_in_a_name":             {parameter("log_hostname = on\nssl", "off"), "not the name of a setting"},
		"setting_hidden_in_a_value":            {parameter("log_hostname", "on'\nssl = 'off"), "cannot hold"},
		"file_included":                        {parameter("include", "/etc/x"), "no file to include"},
		"no_primary":                           {func(c *Config) { c.Primary.Host = "" }, "primary.host is empty"},
		"no_replicas_host":                     {func(c *Config) { c.Replicas.Host = "" }, "replicas.host is empty"},
		"no_port":                              {func(c *Config) { c.Replicas.Port = 0 }, "replicas.port is 0"},
		"negative_weight":                      {func(c *Config) { c.Primary.Weight = -1 }, "primary.weight is -1"},
		"no_children":                          {func(c *Config) { c.Children = 0 }, "at least 1"},
		"unknown_read_after_write":             {func(c *Config) { c.DisableLoadBalanceOnWrite = "never" }, "dml_adaptive"},
		"missing_read_after_write":             {func(c *Config) { c.DisableLoadBalanceOnWrite = "" }, "dml_adaptive"},
		"function_with_a_quote":                {func(c *Config) { c.WriteFunctions = []string{"f'"} }, "writeFunctions[0]"},
		"two_functions_in_one":                 {func(c *Config) { c.WriteFunctions = []string{"f", "g,h"} }, "writeFunctions[1]"},
		"table_with_a_quote":                   {func(c *Config) { c.Cache = &Cache{UnsafeTables: []string{"t'"}} }, "cache.unsafeTables[0]"},
		"routing_query_that_escapes_the_quote": {func(c *Config) { c.PrimaryRoutingQueries = []string{`select \'x\'`} }, "needs no backslash"},
		"routing_query_that_ends_in_backslash": {func(c *Config) { c.PrimaryRoutingQueries = []string{`select \`} }, "escapes nothing"},
		"routing_query_of_two_lines":           {func(c *Config) { c.PrimaryRoutingQueries = []string{"a\nb"} }, "line break"},
		"routing_query_that_is_empty":          {func(c *Config) { c.PrimaryRoutingQueries = []string{""} }, "empty"},
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

func TestRoutingPatterns(t *testing.T) {
	cases := map[string]struct{ pattern, want string }{
		"plain":                        {`select .* from jobs.*`, `select .* from jobs.*`},
		"quote_would_end_the_value":    {`select 'x'`, `select \'x\'`},
		"semicolon_would_end_the_item": {`select 1; select 2`, `select 1\; select 2`},
		"escaped_semicolon_stays":      {`select 1\;`, `select 1\;`},
		"backslash_before_a_quote":     {`a\\'`, `a\\\'`},
		"escape_of_another_character":  {`f\(x\)`, `f\(x\)`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := routingPattern(c.pattern); err != nil || got != c.want {
				t.Errorf("routingPattern(%s) = %s, %v; want %s", c.pattern, got, err, c.want)
			}
		})
	}
}

func TestRenderRefusesAQuoteThatWouldStartAnotherSetting(t *testing.T) {
	c := config()
	c.Parameters = map[string]string{"log_hostname": "on' ssl = 'off"}
	if conf, err := Render(c, Places{}); err == nil {
		t.Errorf("rendered:\n%s", conf)
	}
}
