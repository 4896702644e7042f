// Package pgpool knows how pgpool-II is run on Kubernetes: it never fails anything over, its backends are the role Services, and
// whoever changes a role does not have to tell it (T-59). It renders pgpool's files, decides in which mode pgpool runs, and
// supervises it.
package pgpool

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Mode is which backends pgpool is given.
type Mode string

const (
	// Split: backend 0 is the primary's Service, backend 1 the replicas'. pgpool refuses new sessions while backend 0 cannot be
	// reached, reads included, because it connects every session to its primary.
	Split Mode = "split"
	// ReadOnly: the replicas' Service alone, for the time without a primary. Reads go on; a write gets PostgreSQL's own "cannot
	// execute … in a read-only transaction".
	ReadOnly Mode = "readOnly"
)

// Config is what the chart says about pgpool. Nothing in it is secret.
type Config struct {
	// Port pgpool listens on.
	Port int `json:"port"`
	// Primary and Replicas are the role Services. Replicas is nil when the release has no replica.
	Primary  Backend  `json:"primary"`
	Replicas *Backend `json:"replicas,omitempty"`
	// Children is the number of sessions one pgpool serves at once (num_init_children); PoolPerChild the number of cached
	// connections of each (max_pool). Their product counts against max_connections (T-65).
	Children     int `json:"children"`
	PoolPerChild int `json:"poolPerChild"`
	// DisableLoadBalanceOnWrite says how long after a write a session's reads stay on the primary: always, transaction,
	// trans_transaction, dml_adaptive or off (T-61).
	DisableLoadBalanceOnWrite string `json:"disableLoadBalanceOnWrite"`
	// StatementLevelBalance chooses a backend for each statement instead of each session.
	StatementLevelBalance bool `json:"statementLevelBalance,omitempty"`
	// PrimaryRoutingQueries are regular expressions of queries that go to the primary though they look like reads.
	PrimaryRoutingQueries []string `json:"primaryRoutingQueries,omitempty"`
	// WriteFunctions are functions that write though they are called by SELECT (T-62).
	WriteFunctions []string `json:"writeFunctions,omitempty"`
	// Cache is the query cache; nil is off.
	Cache *Cache `json:"cache,omitempty"`
	// Parameters are pgpool's own, for what is not named above. They may not change what keeps pgpool from failing over.
	Parameters map[string]string `json:"parameters,omitempty"`
}

// Backend is one Service.
type Backend struct {
	Host   string  `json:"host"`
	Port   int     `json:"port"`
	Weight float64 `json:"weight"`
}

// Cache is pgpool's in-memory query cache. With several pgpools it must be in memcached: a cache in shared memory is not
// invalidated by what passes through another pgpool (T-63).
type Cache struct {
	MemcachedHost string `json:"memcachedHost,omitempty"`
	MemcachedPort int    `json:"memcachedPort,omitempty"`
	ExpireSeconds int    `json:"expireSeconds,omitempty"`
	// Unsafe and safe tables as pgpool's lists of regular expressions.
	SafeTables   []string `json:"safeTables,omitempty"`
	UnsafeTables []string `json:"unsafeTables,omitempty"`
}

// Places are the paths and the platform's own facts that the rendered files refer to.
type Places struct {
	Conf   string // directory of the rendered files
	Keys   string // server.crt, server.key, ca.crt
	Socket string // Unix sockets and the pid file
}

// held are the settings that keep pgpool from failing over and from speaking without TLS, with the reason told to who overrides one.
var held = map[string]string{
	"failover_on_backend_error":          "pgpool must never fail over: the role Services follow the primary",
	"failover_on_backend_shutdown":       "pgpool must never fail over: the role Services follow the primary",
	"failover_command":                   "pgpool must never fail over: the role Services follow the primary",
	"health_check_period":                "Kubernetes judges the members' health",
	"use_watchdog":                       "several pgpools stand behind one Service and need no watchdog",
	"sr_check_period":                    "a check through the replicas' Service sees a random replica",
	"enable_pool_hba":                    "clients are authenticated by the passwords of the values",
	"ssl":                                "clients and backends are reached over TLS only",
	"backend_clustering_mode":            "the backends are streaming replicas",
	"listen_addresses":                   "set by the chart",
	"port":                               "set by the chart (pgpool.port)",
	"num_init_children":                  "set by the chart (pgpool.children)",
	"max_pool":                           "set by the chart (pgpool.poolPerChild)",
	"pool_passwd":                        "made from the users' Secrets",
	"allow_clear_text_frontend_auth":     "a clear password must not cross the network",
	"disable_load_balance_on_write":      "set by the chart (pgpool.disableLoadBalanceOnWrite)",
	"memory_cache_enabled":               "set by the chart (pgpool.cache)",
	"memqcache_method":                   "set by the chart (pgpool.cache)",
	"primary_routing_query_pattern_list": "set by the chart (pgpool.primaryRoutingQueries)",
	"write_function_list":                "set by the chart (pgpool.writeFunctions)",
}

// Validate reports every setting that cannot work, in the operator's words.
func (c Config) Validate() []string {
	var bad []string
	if c.Primary.Host == "" {
		bad = append(bad, "primary.host is empty: pgpool needs the primary's Service")
	}
	if c.Children < 1 || c.PoolPerChild < 1 {
		bad = append(bad, fmt.Sprintf("children is %d and poolPerChild %d: both must be at least 1", c.Children, c.PoolPerChild))
	}
	if !slices.Contains([]string{"always", "transaction", "trans_transaction", "dml_adaptive", "off"}, c.DisableLoadBalanceOnWrite) {
		bad = append(bad, fmt.Sprintf("disableLoadBalanceOnWrite is %q: want always, transaction, trans_transaction, dml_adaptive or off", c.DisableLoadBalanceOnWrite))
	}
	for _, k := range sortedKeys(c.Parameters) {
		if why, ok := held[k]; ok || strings.HasPrefix(k, "backend_") || strings.HasPrefix(k, "ssl_") {
			if why == "" {
				why = "set by the chart"
			}
			bad = append(bad, fmt.Sprintf("parameters.%s may not be set: %s", k, why))
		}
	}
	return bad
}

// Render gives the text of pgpool.conf, sorted, the same for the same input.
func Render(c Config, m Mode, p Places) string {
	set := map[string]string{
		"backend_clustering_mode":        "streaming_replication",
		"listen_addresses":               "*",
		"port":                           strconv.Itoa(c.Port),
		"unix_socket_directories":        p.Socket,
		"pcp_socket_dir":                 p.Socket,
		"pcp_listen_addresses":           "",
		"pid_file_name":                  p.Socket + "/pgpool.pid",
		"logdir":                         p.Socket,
		"pool_passwd":                    p.Conf + "/pool_passwd",
		"enable_pool_hba":                "on",
		"allow_clear_text_frontend_auth": "off",
		"ssl":                            "on",
		"ssl_cert":                       p.Keys + "/server.crt",
		"ssl_key":                        p.Keys + "/server.key",
		"ssl_ca_cert":                    p.Keys + "/ca.crt",
		"ssl_ciphers":                    "HIGH:!aNULL:!MD5",
		"ssl_prefer_server_ciphers":      "on",
		"num_init_children":              strconv.Itoa(c.Children),
		"max_pool":                       strconv.Itoa(c.PoolPerChild),
		"connection_cache":               "on",
		// A child that serves one client at a time keeps its backend connections for the next one; they are renewed so that a
		// Service that moved is found again.
		"connection_life_time":          "300",
		"client_idle_limit":             "0",
		"connect_timeout":               "3000",
		"load_balance_mode":             "on",
		"statement_level_load_balance":  onOff(c.StatementLevelBalance),
		"disable_load_balance_on_write": c.DisableLoadBalanceOnWrite,
		"failover_on_backend_error":     "off",
		"failover_on_backend_shutdown":  "off",
		"auto_failback":                 "off",
		"health_check_period":           "0",
		"sr_check_period":               "0",
		"use_watchdog":                  "off",
		"search_primary_node_timeout":   "1",
		"log_destination":               "stderr",
		"log_line_prefix":               "%m: %a pid %p: ",
		"log_min_messages":              "warning",
		"memory_cache_enabled":          "off",
		"process_management_mode":       "static",
		"serialize_accept":              "on",
	}
	if len(c.PrimaryRoutingQueries) > 0 {
		set["primary_routing_query_pattern_list"] = strings.Join(c.PrimaryRoutingQueries, ";")
	}
	if len(c.WriteFunctions) > 0 {
		set["write_function_list"] = strings.Join(c.WriteFunctions, ",")
	}
	for k, v := range cacheSettings(c.Cache) {
		set[k] = v
	}
	for k, v := range c.Parameters {
		set[k] = v
	}
	for i, b := range backends(c, m) {
		n := strconv.Itoa(i)
		set["backend_hostname"+n] = b.Host
		set["backend_port"+n] = strconv.Itoa(b.Port)
		set["backend_weight"+n] = strconv.FormatFloat(b.Weight, 'g', -1, 64)
		set["backend_flag"+n] = "DISALLOW_TO_FAILOVER"
		set["backend_application_name"+n] = b.name
	}
	// Without this flag pgpool would ask the backends which of them is the primary, and a Service is not one server.
	set["backend_flag0"] = "ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER"

	var out strings.Builder
	out.WriteString("# made by pgspan's pooler from the chart's values; changes here are lost\n")
	for _, k := range sortedKeys(set) {
		fmt.Fprintf(&out, "%s = %s\n", k, quote(set[k]))
	}
	return out.String()
}

type namedBackend struct {
	Backend
	name string
}

func backends(c Config, m Mode) []namedBackend {
	primary := namedBackend{c.Primary, "primary"}
	if c.Replicas == nil {
		return []namedBackend{primary}
	}
	replicas := namedBackend{*c.Replicas, "replicas"}
	if m == ReadOnly {
		return []namedBackend{replicas}
	}
	return []namedBackend{primary, replicas}
}

func cacheSettings(c *Cache) map[string]string {
	if c == nil {
		return nil
	}
	set := map[string]string{"memory_cache_enabled": "on", "memqcache_method": "shmem", "memqcache_auto_cache_invalidation": "on"}
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

// HBA gives pool_hba.conf: passwords by SCRAM over TLS, and nothing else.
func HBA() string {
	return "# made by pgspan's pooler\nhostssl all all all scram-sha-256\n"
}

// quote writes a value as pgpool's configuration lexer reads it: single quotes, doubled inside.
func quote(v string) string { return "'" + strings.ReplaceAll(v, "'", "''") + "'" }

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
