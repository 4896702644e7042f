package pgpool

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
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
	// PrimaryRoutingQueries are regular expressions (POSIX, the whole query, in any case) of queries that go to the primary though
	// they look like reads.
	PrimaryRoutingQueries []string `json:"primaryRoutingQueries,omitempty"`
	// WriteFunctions are the functions that write though they are called by SELECT (T-62). While there is none, pgpool asks the
	// catalog and takes every function for one that is neither stable nor immutable; the list takes that question's place.
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

// held are the settings that keep pgpool from failing over and from speaking without TLS, with the reason told to who overrides one.
var held = map[string]string{
	"failover_on_backend_error":          "pgpool must never fail over: the role Services follow the primary",
	"failover_on_backend_shutdown":       "pgpool must never fail over: the role Services follow the primary",
	"failover_command":                   "pgpool must never fail over: the role Services follow the primary",
	"failback_command":                   "pgpool must never fail over: the role Services follow the primary",
	"follow_primary_command":             "pgpool must never fail over: the role Services follow the primary",
	"auto_failback":                      "pgpool must never fail over: the role Services follow the primary",
	"detach_false_primary":               "pgpool must never fail over: the role Services follow the primary",
	"use_watchdog":                       "several pgpools stand behind one Service and need no watchdog",
	"sr_check_period":                    "a check through the replicas' Service sees a random replica",
	"replication_mode":                   "the servers replicate by themselves",
	"enable_pool_hba":                    "clients are authenticated by the passwords of the values",
	"ssl":                                "clients and backends are reached over TLS only",
	"backend_clustering_mode":            "the backends are streaming replicas",
	"listen_addresses":                   "set by the chart",
	"port":                               "set by the chart (pgpool.port)",
	"num_init_children":                  "set by the chart (pgpool.children)",
	"max_pool":                           "set by the chart (pgpool.poolPerChild)",
	"process_management_mode":            "the number of children is fixed, as it counts against max_connections",
	"unix_socket_directories":            "set by the pooler",
	"pcp_listen_addresses":               "nobody administers pgpool from outside",
	"pcp_socket_dir":                     "set by the pooler",
	"pid_file_name":                      "set by the pooler",
	"logdir":                             "set by the pooler",
	"log_destination":                    "a container logs to standard error",
	"logging_collector":                  "a container logs to standard error",
	"pool_passwd":                        "made from the users' Secrets",
	"allow_clear_text_frontend_auth":     "a clear password must not cross the network",
	"statement_level_load_balance":       "set by the chart (pgpool.statementLevelBalance)",
	"disable_load_balance_on_write":      "set by the chart (pgpool.disableLoadBalanceOnWrite)",
	"memory_cache_enabled":               "set by the chart (pgpool.cache)",
	"memqcache_method":                   "set by the chart (pgpool.cache)",
	"memqcache_oiddir":                   "set by the pooler",
	"primary_routing_query_pattern_list": "set by the chart (pgpool.primaryRoutingQueries)",
	"write_function_list":                "set by the chart (pgpool.writeFunctions)",
}

// heldPrefixes are families of settings that are the pooler's.
var heldPrefixes = map[string]string{
	"backend_":     "the backends are the role Services",
	"health_check": "Kubernetes judges the members' health",
	"ssl_":         "made from the Secret of certificates",
	"wd_":          "several pgpools stand behind one Service and need no watchdog",
	"include":      "there is no file to include",
}

var (
	writeBalances = []string{"always", "transaction", "trans_transaction", "dml_adaptive", "off"}
	settingName   = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// Validate reports every setting that cannot work, in the operator's words.
func (c Config) Validate() []string {
	var bad []string
	add := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	services := map[string]Backend{"primary": c.Primary}
	if c.Replicas != nil {
		services["replicas"] = *c.Replicas
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		switch b := services[name]; {
		case b.Host == "":
			add("%s.host is empty: pgpool needs the Service", name)
		case b.Port < 1 || b.Port > 65535:
			add("%s.port is %d: want 1 to 65535", name, b.Port)
		case b.Weight < 0:
			add("%s.weight is %g: want 0 or more", name, b.Weight)
		}
	}
	if c.Port < 1 || c.Port > 65535 {
		add("port is %d: want 1 to 65535", c.Port)
	}
	if c.Children < 1 || c.PoolPerChild < 1 {
		add("children is %d and poolPerChild %d: both must be at least 1", c.Children, c.PoolPerChild)
	}
	if !slices.Contains(writeBalances, c.DisableLoadBalanceOnWrite) {
		add("disableLoadBalanceOnWrite is %q: want %s", c.DisableLoadBalanceOnWrite, strings.Join(writeBalances, ", "))
	}
	for i, pattern := range c.PrimaryRoutingQueries {
		if _, err := routingPattern(pattern); err != nil {
			add("primaryRoutingQueries[%d] %v", i, err)
		}
	}
	lists := map[string][]string{"writeFunctions": c.WriteFunctions}
	if c.Cache != nil {
		lists["cache.safeTables"], lists["cache.unsafeTables"] = c.Cache.SafeTables, c.Cache.UnsafeTables
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		for i, item := range lists[name] {
			if item == "" || strings.ContainsAny(item, "',\n\r") {
				add("%s[%d] is %q: pgpool's lists hold no empty item and none with a quote, a comma or a line break", name, i, item)
			}
		}
	}
	return append(bad, c.badParameters()...)
}

func (c Config) badParameters() []string {
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		why := held[name]
		for prefix, reason := range heldPrefixes {
			if strings.HasPrefix(name, prefix) {
				why = reason
			}
		}
		switch {
		case !settingName.MatchString(name):
			bad = append(bad, fmt.Sprintf("parameters.%s is not the name of a setting", name))
		case why != "":
			bad = append(bad, fmt.Sprintf("parameters.%s may not be set: %s", name, why))
		case strings.ContainsAny(c.Parameters[name], "'\n\r"):
			bad = append(bad, fmt.Sprintf("parameters.%s has a quote or a line break, which pgpool.conf cannot hold", name))
		}
	}
	return bad
}
