package pgpool

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Places are the directories that the rendered files refer to.
type Places struct {
	Conf   string // the rendered files
	Keys   string // server.crt, server.key, ca.crt
	Socket string // Unix sockets, the pid file, what the query cache notes
}

// linkPort ends the name of a link's socket. It is no port of anything: pgpool makes the name of a Unix socket with it.
const linkPort = 5432

// linkDir is the directory of the socket that pgpool takes for one of its backends; see Link.
func (p Places) linkDir(r Role) string { return filepath.Join(p.Socket, string(r)) }

func (p Places) linkSocket(r Role) string {
	return filepath.Join(p.linkDir(r), ".s.PGSQL."+strconv.Itoa(linkPort))
}

func (p Places) pidFile() string { return filepath.Join(p.Socket, "pgpool.pid") }
func (p Places) passwd() string  { return filepath.Join(p.Conf, "pool_passwd") }

// Render gives the text of pgpool.conf, sorted, the same for the same input.
func Render(c Config, p Places) (string, error) {
	set := map[string]string{
		"backend_clustering_mode": "streaming_replication",
		"listen_addresses":        "*",
		"port":                    strconv.Itoa(c.Port),
		"unix_socket_directories": p.Socket,
		"pcp_socket_dir":          p.Socket,
		"pcp_listen_addresses":    "",
		"pid_file_name":           p.pidFile(),
		"logdir":                  p.Socket,
		"process_management_mode": "static",
		"num_init_children":       strconv.Itoa(c.Children),
		"max_pool":                strconv.Itoa(c.PoolPerChild),
		"connection_cache":        "on",
		// Cached connections are renewed, so that a replica that was added gets its share.
		"connection_life_time": "300",
		"child_life_time":      "300",
		"client_idle_limit":    "0",

		"pool_passwd":                    p.passwd(),
		"enable_pool_hba":                "on",
		"allow_clear_text_frontend_auth": "off",
		// For clients only: the way to the servers is Link's. There is no ssl_ca_cert, because with it pgpool asks every client for a
		// certificate and turns away those that have one of another authority.
		"ssl":                       "on",
		"ssl_cert":                  filepath.Join(p.Keys, "server.crt"),
		"ssl_key":                   filepath.Join(p.Keys, "server.key"),
		"ssl_ciphers":               "HIGH:!aNULL:!MD5",
		"ssl_prefer_server_ciphers": "on",

		"load_balance_mode":             "on",
		"statement_level_load_balance":  onOff(c.StatementLevelBalance),
		"disable_load_balance_on_write": c.DisableLoadBalanceOnWrite,

		"failover_on_backend_error":    "off",
		"failover_on_backend_shutdown": "off",
		"auto_failback":                "off",
		"health_check_period":          "0",
		"sr_check_period":              "0",
		"use_watchdog":                 "off",
		"search_primary_node_timeout":  "1",

		"log_destination":      "stderr",
		"log_line_prefix":      "%m: %a pid %p: ",
		"log_min_messages":     "warning",
		"memory_cache_enabled": "off",
		"memqcache_oiddir":     filepath.Join(p.Socket, "oiddir"),
		// Without a query cache its memory holds only what the children know of the tables in common. By default it would be 134 MB
		// of shared memory, all of it touched at the start.
		"enable_shared_relcache":     "on",
		"memqcache_total_size":       "4194304",
		"memqcache_cache_block_size": "65536",
		"memqcache_maxcache":         "65536",
		"memqcache_max_num_cache":    "10000",
	}
	var routing []string
	for _, pattern := range c.PrimaryRoutingQueries {
		escaped, err := routingPattern(pattern)
		if err != nil {
			return "", err
		}
		routing = append(routing, escaped)
	}
	if len(routing) > 0 {
		set["primary_routing_query_pattern_list"] = strings.Join(routing, ";")
	}
	if len(c.WriteFunctions) > 0 {
		set["write_function_list"] = strings.Join(c.WriteFunctions, ",")
	}
	maps.Copy(set, cacheSettings(c.Cache))
	maps.Copy(set, c.Parameters)
	for i, r := range c.roles() {
		n := strconv.Itoa(i)
		set["backend_hostname"+n] = p.linkDir(r)
		set["backend_port"+n] = strconv.Itoa(linkPort)
		set["backend_weight"+n] = strconv.FormatFloat(c.backend(r).Weight, 'g', -1, 64)
		set["backend_flag"+n] = "DISALLOW_TO_FAILOVER"
		set["backend_application_name"+n] = string(r)
	}
	// Without this flag pgpool would ask the backends which of them is the primary, and a Service is not one server.
	set["backend_flag0"] = "ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER"

	var out strings.Builder
	out.WriteString("# made by pgspan's pooler from the chart's values; changes here are lost\n")
	for _, name := range slices.Sorted(maps.Keys(set)) {
		// pgpool reads a value up to the next quote and knows no escape.
		if !strings.HasPrefix(name, "primary_routing") && strings.ContainsAny(set[name], "'\n\r") {
			return "", fmt.Errorf("%s has a quote or a line break, which pgpool.conf cannot hold", name)
		}
		fmt.Fprintf(&out, "%s = '%s'\n", name, set[name])
	}
	return out.String(), nil
}

// roles are pgpool's backends in their order.
func (c Config) roles() []Role {
	if c.Replicas == nil {
		return []Role{Primary}
	}
	return []Role{Primary, Replicas}
}

func (c Config) backend(r Role) Backend {
	if r == Replicas {
		return *c.Replicas
	}
	return c.Primary
}

func cacheSettings(c *Cache) map[string]string {
	if c == nil {
		return nil
	}
	set := map[string]string{
		"memory_cache_enabled": "on", "memqcache_method": "shmem", "memqcache_auto_cache_invalidation": "on",
		// pgpool's own defaults.
		"memqcache_total_size": "67108864", "memqcache_cache_block_size": "1048576", "memqcache_maxcache": "409600",
		"memqcache_max_num_cache": "1000000",
	}
	if c.ExpireSeconds > 0 {
		set["memqcache_expire"] = strconv.Itoa(c.ExpireSeconds)
	}
	if c.MemcachedHost != "" {
		set["memqcache_method"] = "memcached"
		set["memqcache_memcached_host"] = c.MemcachedHost
		set["memqcache_memcached_port"] = strconv.Itoa(c.MemcachedPort)
	}
	if len(c.SafeTables) > 0 {
		set["cache_safe_memqcache_table_list"] = strings.Join(c.SafeTables, ",")
	}
	if len(c.UnsafeTables) > 0 {
		set["cache_unsafe_memqcache_table_list"] = strings.Join(c.UnsafeTables, ",")
	}
	return set
}

// routingPattern writes a regular expression as an item of primary_routing_query_pattern_list, the one setting in which pgpool knows
// escapes: a backslash keeps a quote from ending the value and a semicolon from ending the item.
func routingPattern(pattern string) (string, error) {
	var out strings.Builder
	escaped := false
	for _, c := range pattern {
		switch {
		case c == '\n' || c == '\r':
			return "", errors.New("has a line break, which pgpool.conf cannot hold")
		case c == '\'' && escaped:
			return "", errors.New(`has \', which pgpool.conf cannot hold: a quote needs no backslash`)
		case (c == '\'' || c == ';') && !escaped:
			out.WriteByte('\\')
		}
		out.WriteRune(c)
		escaped = c == '\\' && !escaped
	}
	switch {
	case pattern == "":
		return "", errors.New("is empty")
	case escaped:
		return "", errors.New("ends in a backslash that escapes nothing")
	}
	return out.String(), nil
}

// HBA gives pool_hba.conf: passwords by SCRAM over TLS, and nothing else.
func HBA() string {
	return "# made by pgspan's pooler\nhostssl all all all scram-sha-256\n"
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
